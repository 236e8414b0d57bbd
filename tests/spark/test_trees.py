"""How estimators are shown categories: trees by number, linear ones one-hot, and what follows from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from made_trips import write_month
from taxiway.downloads import load_model
from taxiway.errors import UsageError
from taxiway.evaluation import HOLDOUT, TRAIN
from taxiway.leakage import AuditData, _sliced_sample, audit
from taxiway.pipeline import FEATURES, MOST_CATEGORIES, assemble, build_estimator, score_column
from taxiway.preparation import Table, hide_some, split_months
from taxiway.progress import Silent
from taxiway.recipes import RECIPES, CompiledRecipe, Recipe, compile_recipe
from taxiway.recipes.estimators import ESTIMATORS
from taxiway.registry import promote, register
from taxiway.scoring import score
from taxiway.search import Candidate, Search
from taxiway.settings import Settings, load_settings
from taxiway.store import connect
from taxiway.training import Training, train
from taxiway.trips.source import fetch
from taxiway.vetting import vet_model

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import DataFrame, SparkSession

MONTHS, HELD_OUT = "yellow:2018-01..2018-02", "yellow:2018-03"
TREES = ("gradient_boosted_trees", "random_forest")
SMALL: dict[str, dict[str, list[Any]]] = {
    "logistic_regression": {"regParam": [0.01], "maxIter": [20]},
    "linear_regression": {"regParam": [0.01], "maxIter": [20]},
    "gradient_boosted_trees": {"maxDepth": [3], "maxIter": [5]},
    "random_forest": {"maxDepth": [3], "numTrees": [5]},
}
Prepare = Callable[..., Table]
pytestmark = pytest.mark.usefixtures("_shared_spark")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trips")
    for month in ("2018-01", "2018-02", "2018-03"):
        write_month(folder, month)
    return folder


def settings_in(home: Path, folder: Path) -> Settings:
    return load_settings({"home": home, "trips_source": folder}, {}, home)


@pytest.fixture
def prepare(spark: SparkSession, folder: Path, tmp_path: Path) -> Prepare:
    """Prepare the months for an estimator of a recipe."""

    def prepare_table(recipe: Recipe, estimator: str, source: Path = folder) -> Table:
        split = split_months(recipe, MONTHS, HELD_OUT)
        files = fetch([*split.train, *split.holdout], settings_in(tmp_path, source))
        return Table.prepare(spark, compile_recipe(recipe), split, files, estimator)

    return prepare_table


def fitted(recipe: Recipe, estimator: str, table: Table) -> PipelineModel:
    """One small candidate behind the stages of a table."""

    def fit(candidate: Candidate) -> Candidate:
        unfitted = build_estimator(candidate.estimator, candidate.task, candidate.params)
        return candidate.fitted(unfitted.fit(table.fitting), 0.0, 0.0)

    search = Search.plan(recipe, estimator, SMALL[estimator], None, seed=0).with_bins(table.categories)
    (candidate,) = search.run(fit, list)
    return assemble([*table.pipeline.stages, candidate.model])


def kinds(frame: DataFrame, column: str = FEATURES) -> list[int | None]:
    """Of each slot of a vector, how many categories Spark knows it to have; None for a number."""
    attributes = frame.schema[column].metadata["ml_attr"]["attrs"]
    sizes: dict[int, int | None] = {item["idx"]: None for item in attributes.get("numeric", ())}
    sizes |= {item["idx"]: len(item["vals"]) for item in attributes.get("nominal", ())}
    return [sizes[index] for index in sorted(sizes)]


def trips(spark: SparkSession, compiled: CompiledRecipe, *changes: dict[str, Any]) -> DataFrame:
    """One usual trip for each dictionary of changes, with the columns that the recipe reads."""
    usual = {"pickup_at": "2018-03-05 18:00:00", "dropoff_at": "2018-03-05 18:20:00", "vendor_id": 1, "extra": 0.5}
    usual |= {"passenger_count": 1, "trip_distance": 4.5, "payment_type": 1, "fare_amount": 18.5, "tolls_amount": 0.0}
    usual |= {"pickup_zone_id": 3, "dropoff_zone_id": 4}
    rows = [tuple((usual | change)[name] for name in compiled.columns) for change in changes]
    texts = spark.createDataFrame(
        [tuple(None if value is None else str(value) for value in row) for row in rows],
        ", ".join(f"{name} string" for name in compiled.columns),
    )
    return texts.select(*(texts[name].cast(kind).alias(name) for name, kind in compiled.columns.items()))


# What each estimator is shown


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_trees_get_categories_by_number_and_linear_estimators_one_hot(prepare: Prepare, estimator: str) -> None:
    recipe = RECIPES["card-tip" if "classification" in ESTIMATORS[estimator].tasks else "duration"]
    table = prepare(recipe, estimator)
    stages = [type(stage).__name__ for stage in table.pipeline.stages]
    numbers: list[int | None] = [None] * len(recipe.numeric)
    if estimator in TREES:
        assert "OneHotEncoderModel" not in stages
        assert [slot for _, slot in table.slots] == [feature for feature, _ in table.slots] == list(recipe.inputs)
        assert tuple(table.categories) == recipe.categorical
        for frame in (table.fitting, *table.vectors.values()):
            assert kinds(frame) == [*numbers, *table.categories.values()]
    else:
        assert stages.count("OneHotEncoderModel") == 1
        assert table.categories == {}
        assert table.fitting is table.vectors[TRAIN]
        assert len(table.slots) > 5 * len(recipe.inputs)


def test_a_saved_and_loaded_preparation_still_says_what_is_a_category(
    spark: SparkSession, prepare: Prepare, tmp_path: Path
) -> None:
    from pyspark.ml import PipelineModel

    recipe = RECIPES["card-tip"]
    table = prepare(recipe, "random_forest")
    table.pipeline.write().save(str(tmp_path / "stages"))
    loaded = PipelineModel.load(str(tmp_path / "stages"))
    never_seen = {"pickup_zone_id": 9999, "vendor_id": None}
    out = loaded.transform(trips(spark, compile_recipe(recipe), never_seen))
    assert kinds(out) == kinds(table.vectors[TRAIN])
    vector = dict(zip(recipe.inputs, out.head()[FEATURES].toArray(), strict=True))
    # 'unknown' is the last of the values that the feature is declared to have.
    for name in never_seen:
        assert vector[name] == table.categories[name] - 1


def test_only_what_is_fitted_hides_categories(prepare: Prepare) -> None:
    from pyspark.ml.functions import vector_to_array

    recipe = RECIPES["card-tip"]
    table = prepare(recipe, "random_forest")

    def unknown(frame: DataFrame, name: str) -> int:
        slot = vector_to_array(FEATURES)[recipe.inputs.index(name)]
        return frame.where(slot == table.categories[name] - 1).count()

    assert table.fitting.count() == table.vectors[TRAIN].count() == table.rows[TRAIN]
    for name in ("pickup_hour", "vendor_id", "pickup_zone_id"):
        assert unknown(table.vectors[TRAIN], name) == 0
        assert 0 < unknown(table.fitting, name) < 0.05 * table.rows[TRAIN]


def test_the_same_categories_are_hidden_however_the_rows_lie(spark: SparkSession) -> None:
    from pyspark.ml.feature import StringIndexerModel

    texts = [StringIndexerModel.from_labels([*"abc"], f"{name}_text", name, handleInvalid="keep") for name in "xy"]
    rows = spark.range(20_000).selectExpr("id", *(f"substr('abc', cast(id % 3 + 1 as int), 1) {n}_text" for n in "xy"))
    indexed = texts[1].transform(texts[0].transform(rows)).drop("x_text", "y_text")

    def hidden(frame: DataFrame) -> list[Any]:
        return hide_some(frame, {"x": 3, "y": 3}).where("x = 3 or y = 3").orderBy("id").collect()

    found = hidden(indexed.repartition(1))
    assert found == hidden(indexed.repartition(7, "id"))
    assert {(row["x"] == 3, row["y"] == 3) for row in found} == {(True, True), (True, False), (False, True)}
    # Of 4 in 100 rows each feature is hidden in every other one: at least one of two in three of four.
    assert len(found) == pytest.approx(20_000 * 0.04 * 3 / 4, rel=0.2)


# Unknown categories


@pytest.mark.parametrize("estimator", TREES)
def test_an_unknown_category_is_answered_between_the_known_ones(
    spark: SparkSession, prepare: Prepare, estimator: str
) -> None:
    recipe = RECIPES["tip"]
    model = fitted(recipe, estimator, prepare(recipe, estimator))
    asked = [{"payment_type": kind} for kind in (1, 2, 77, None)]
    out = model.transform(trips(spark, compile_recipe(recipe), *asked)).select("probability").collect()
    card, cash, never_seen, nothing = (float(row["probability"][1]) for row in out)
    assert never_seen == nothing
    assert cash + 0.05 < never_seen < card - 0.05


@pytest.mark.parametrize("rows", [1_500, 40], ids=["more than trees tell apart", "as many as rows"])
def test_a_feature_that_differs_in_each_row_can_be_trained_and_scored(
    spark: SparkSession, prepare: Prepare, tmp_path: Path, rows: int
) -> None:
    for month in ("2018-01", "2018-02", "2018-03"):
        write_month(tmp_path / "few", month, rows=rows)
    recipe = replace(RECIPES["tip"], categorical=("pickup_at", "payment_type"))
    table = prepare(recipe, "random_forest", tmp_path / "few")
    assert table.categories["pickup_at"] == min(MOST_CATEGORIES, table.rows[TRAIN])
    model = fitted(recipe, "random_forest", table)
    out = model.transform(trips(spark, compile_recipe(recipe), {})).head()
    assert 0 < out["probability"][1] < 1


class Told(Silent):
    """A progress that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        """Keep it."""
        self.notes.append(message)


# A whole training


@pytest.fixture(scope="module")
def training(_shared_spark: SparkSession, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    settings = settings_in(tmp_path_factory.mktemp("home"), folder)
    told = Told()
    found = train(
        replace(RECIPES["tip"], categorical=(*RECIPES["tip"].categorical, "pickup_at")),
        MONTHS,
        HELD_OUT,
        estimator="gradient_boosted_trees",
        grid=SMALL["gradient_boosted_trees"],
        settings=settings,
        progress=told,
    )
    return found, settings, told


def test_the_run_says_how_many_bins_and_what_was_left_out(training: Any) -> None:
    found, settings, told = training
    run = connect(settings).get_run(found.best_run_id)
    assert run.data.params["maxBins"] == str(MOST_CATEGORIES)
    assert [note for note in told.notes if "999 most frequent" in note and "'pickup_at'" in note]


def test_importances_name_the_features(training: Any, tmp_path: Path) -> None:
    found, settings, _ = training
    file = connect(settings).download_artifacts(found.best_run_id, "weights.json", str(tmp_path))
    weights = {item["name"]: item["value"] for item in json.loads(Path(file).read_text())["weights"]}
    assert tuple(weights) == (*RECIPES["tip"].inputs, "pickup_at")
    assert weights["payment_type"] == max(weights.values())
    assert sum(weights.values()) == pytest.approx(1)


def test_the_audit_of_trees_finds_the_leak(training: Any) -> None:
    found: Training = training[0]
    assert [item.feature for item in found.leakage] == [*RECIPES["tip"].inputs, "pickup_at"]
    assert [item.feature for item in found.leakage if item.flagged] == ["payment_type"]
    assert next(item for item in found.leakage if item.flagged).without < 0.7


def test_the_same_trips_and_seed_give_the_same_trees(spark: SparkSession, prepare: Prepare) -> None:
    recipe = RECIPES["duration"]

    def trained() -> str:
        spark.catalog.clearCache()
        return str(fitted(recipe, TREES[0], prepare(recipe, TREES[0])).stages[-1].toDebugString).partition("\n")[2]

    assert " in {" in trained()
    assert trained() == trained()


def test_a_refit_without_a_feature_still_knows_the_categories(prepare: Prepare) -> None:
    recipe = RECIPES["card-tip"]
    table = prepare(recipe, "gradient_boosted_trees")
    data = AuditData(table.columns, table.vectors, table.slots, table.rows)
    everything = list(range(len(table.slots)))
    without_first = everything[1:]
    frame = _sliced_sample(data, HOLDOUT, [everything, without_first])
    assert kinds(frame, "slice_0") == kinds(table.vectors[HOLDOUT])
    assert kinds(frame, "slice_1") == kinds(table.vectors[HOLDOUT])[1:]


@pytest.mark.parametrize("estimator", ["logistic_regression", *TREES])
def test_a_recipe_of_one_feature_is_audited_too(prepare: Prepare, estimator: str) -> None:
    recipe = replace(RECIPES["tip"], numeric=(), categorical=("payment_type",))
    table = prepare(recipe, estimator)
    data = AuditData(table.columns, {**table.vectors, TRAIN: table.fitting}, table.slots, table.rows)
    params = {name: values[0] for name, values in SMALL[estimator].items()}
    (audited,) = audit(recipe, data, build_estimator(estimator, recipe.task, params), score_column(recipe))
    assert audited.flagged
    assert audited.without == pytest.approx(0.5)


def test_too_few_bins_are_refused_before_anything_is_recorded(folder: Path, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, folder)
    with pytest.raises(UsageError, match="maxBins=16 is too small: 'pickup_zone_id' has 40 categories") as refused:
        train("duration", MONTHS, HELD_OUT, estimator=TREES[0], grid={"maxBins": [16]}, settings=settings)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)
    assert connect(settings).get_experiment_by_name("duration") is None


# Models of both shapes, in use


def test_trees_are_vetted_and_score(training: Any, tmp_path: Path) -> None:
    found, settings, _ = training
    in_production(found, settings)
    model = load_model(found.recipe, settings)
    vet_model(model.files, "tip/1")
    assert not list(model.files.glob("sparkml/stages/*OneHotEncoder*"))
    scored = score(found.recipe, HELD_OUT, tmp_path / "out", settings=settings)
    # More than could be judged: at scoring a trip may lack what a rule asks.
    assert found.rows[HOLDOUT] <= scored.answered < scored.rows


def test_one_hot_trees_of_earlier_versions_are_vetted_and_score(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path / "home", folder)
    now = Table.prepare
    # Trees were shown then what linear estimators are shown.
    monkeypatch.setattr(Table, "prepare", lambda *arguments: now(*arguments[:-1], "linear_regression"))
    found = train("duration", MONTHS, HELD_OUT, estimator=TREES[0], grid=SMALL[TREES[0]], settings=settings)
    monkeypatch.undo()
    in_production(found, settings)
    model = load_model("duration", settings)
    vet_model(model.files, "duration/1")
    assert list(model.files.glob("sparkml/stages/*OneHotEncoder*"))
    scored = score("duration", HELD_OUT, tmp_path / "out", settings=settings)
    assert scored.answered == scored.rows > 0


def in_production(found: Training, settings: Settings) -> None:
    """Register the best run and put it into production."""
    register(found.recipe, settings)
    promote(found.recipe, settings, to="production")
