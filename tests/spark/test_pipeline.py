"""One PipelineModel: raw trip columns in, however dirty; an answer out; fitted on training rows alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from made_trips import write_month
from taxiway.errors import RecipeError, UsageError
from taxiway.evaluation import TRAIN
from taxiway.pipeline import assemble, build_estimator, slot_names
from taxiway.preparation import Table, split_months
from taxiway.recipes import RECIPES, compile_recipe
from taxiway.recipes.estimators import ESTIMATORS
from taxiway.recipes.metrics import Task
from taxiway.settings import load_settings
from taxiway.trips.source import fetch

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import DataFrame, SparkSession

COMPILED = compile_recipe(RECIPES["tip"])
CLEAN = {
    "pickup_at": datetime(2018, 3, 5, 18, 0),
    "dropoff_at": datetime(2018, 3, 5, 18, 20),
    "passenger_count": 1,
    "trip_distance": 4.5,
    "payment_type": 1,
    "fare_amount": 18.5,
}
Fit = Callable[..., tuple["PipelineModel", Table]]
pytestmark = pytest.mark.usefixtures("_shared_spark")


@pytest.fixture(scope="module")
def fit(_shared_spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Fit:
    def fit_model(holdout_seed: int = 0, recipe: str = "tip") -> tuple[PipelineModel, Table]:
        folder = tmp_path_factory.mktemp("trips")
        for month in ("2018-01", "2018-02"):
            write_month(folder, month)
        write_month(folder, "2018-03", holdout_seed, rows=900 + holdout_seed)
        compiled = compile_recipe(RECIPES[recipe])
        settings = load_settings({"home": folder / "home", "trips_source": folder}, {}, folder)
        split = split_months(compiled.recipe, "yellow:2018-01..2018-02", "yellow:2018-03")
        name = compiled.recipe.estimators[0].name
        table = Table.prepare(_shared_spark, compiled, split, fetch([*split.train, *split.holdout], settings), name)
        estimator = build_estimator(name, compiled.recipe.task, {"regParam": 0.01, "maxIter": 20})
        return assemble([*table.pipeline.stages, estimator.fit(table.vectors[TRAIN])]), table

    return fit_model


@pytest.fixture(scope="module")
def fitted(fit: Fit) -> tuple[PipelineModel, Table]:
    return fit()


def trips(spark: SparkSession, rows: list[dict[str, Any]], **types: str) -> DataFrame:
    """A frame of the columns that the model reads, and no others."""
    schema = ", ".join(f"{name} {types.get(name, kind)}" for name, kind in COMPILED.columns.items())
    return spark.createDataFrame([tuple(row[name] for name in COMPILED.columns) for row in rows], schema)


def answers(model: PipelineModel, frame: DataFrame) -> list[tuple[float, float]]:
    """(prediction, probability of label 1) of each row."""
    rows = model.transform(frame).select("prediction", "probability").collect()
    return [(row["prediction"], float(row["probability"][1])) for row in rows]


DIRT: dict[str, dict[str, Any]] = {
    "all null": dict.fromkeys(COMPILED.columns),
    **{f"{name} null": {**CLEAN, name: None} for name in COMPILED.columns},
    "a payment type never seen": {**CLEAN, "payment_type": 77},
    "negative": {**CLEAN, "fare_amount": -52.0, "trip_distance": -1.0, "passenger_count": -3, "payment_type": -1},
    "not a number": {**CLEAN, "fare_amount": math.nan, "trip_distance": math.nan},
    "huge": {**CLEAN, "fare_amount": 1e12, "passenger_count": 2**31 - 1},
    "centuries": {**CLEAN, "pickup_at": datetime(1, 1, 1), "dropoff_at": datetime(9999, 12, 31)},
    "backwards": {**CLEAN, "dropoff_at": datetime(2001, 1, 1)},
}


@pytest.mark.parametrize("name", DIRT)
def test_every_trip_gets_an_answer(spark: SparkSession, fitted: tuple[PipelineModel, Table], name: str) -> None:
    ((prediction, probability),) = answers(fitted[0], trips(spark, [DIRT[name]]))
    assert prediction in (0.0, 1.0)
    assert 0 <= probability <= 1


def test_garbage_text_in_every_column_is_answered_like_null(
    spark: SparkSession, fitted: tuple[PipelineModel, Table]
) -> None:
    texts = dict.fromkeys(COMPILED.columns, "string")
    rows = [dict.fromkeys(COMPILED.columns, "what?"), dict.fromkeys(COMPILED.columns, "")]
    garbage = answers(fitted[0], trips(spark, rows, **texts))
    nothing = answers(fitted[0], trips(spark, [DIRT["all null"]]))
    assert garbage == nothing * 2


@pytest.mark.parametrize(
    "types",
    [
        {"payment_type": "string", "passenger_count": "string", "fare_amount": "string", "trip_distance": "string"},
        {"payment_type": "double", "passenger_count": "double"},
        {"payment_type": "bigint", "passenger_count": "smallint", "fare_amount": "float"},
    ],
)
def test_the_type_of_a_column_changes_no_answer(
    spark: SparkSession, fitted: tuple[PipelineModel, Table], types: dict[str, str]
) -> None:
    frame = trips(spark, [CLEAN])
    other = frame.withColumns({name: frame[name].cast(kind) for name, kind in types.items()})
    assert answers(fitted[0], other) == answers(fitted[0], frame)


def test_an_id_as_text_with_a_fraction_is_the_id(spark: SparkSession, fitted: tuple[PipelineModel, Table]) -> None:
    frame = trips(spark, [{**CLEAN, "payment_type": "1.0"}], payment_type="string")
    assert answers(fitted[0], frame) == answers(fitted[0], trips(spark, [CLEAN]))


def test_the_trip_s_own_columns_stay(spark: SparkSession, fitted: tuple[PipelineModel, Table]) -> None:
    frame = trips(spark, [CLEAN])
    out = fitted[0].transform(frame)
    assert out.select(frame.columns).collect() == frame.collect()


def test_null_becomes_the_median_of_training_and_a_new_category_its_own_slot(
    spark: SparkSession, fitted: tuple[PipelineModel, Table]
) -> None:
    model, table = fitted
    names = [slot for _, slot in slot_names(model, COMPILED)]
    assert names == [slot for _, slot in table.slots]
    frame = trips(spark, [{**CLEAN, "fare_amount": None, "payment_type": 77}])
    vector = model.transform(frame).head()["features"].toArray()
    assert len(names) == len(vector)
    slots = dict(zip(names, vector, strict=True))
    fares = table.columns.where(f"part = '{TRAIN}'").select("feature_fare_amount").toPandas()["feature_fare_amount"]
    # Spark's median is one of the values: the middle one, or a neighbour of it.
    assert abs(slots["fare_amount"] - fares.median()) < 0.2
    assert slots["payment_type unknown"] == 1
    assert slots["payment_type = 1"] == 0
    assert slots["pickup_hour = 18"] == 1
    assert slots["traffic_time_bin = PMRush"] == 1
    assert slots["pickup_weekday = Monday"] == 1


def fingerprint(model: PipelineModel) -> list[Any]:
    """All that a fit learned."""
    from pyspark.ml.feature import ImputerModel, StringIndexerModel

    learned: list[Any] = []
    for stage in model.stages:
        if isinstance(stage, StringIndexerModel):
            learned.append(stage.labelsArray)
        if isinstance(stage, ImputerModel):
            learned.append(stage.surrogateDF.collect())
    last = model.stages[-1]
    return [*learned, last.coefficients.toArray().tolist(), last.intercept]


def test_rows_held_out_change_nothing_in_the_model(fit: Fit, fitted: tuple[PipelineModel, Table]) -> None:
    model, table = fit(holdout_seed=7)
    assert table.rows["holdout"] != fitted[1].rows["holdout"]
    assert fingerprint(model) == fingerprint(fitted[0])


def test_the_same_trips_give_the_same_model_to_the_last_bit(fit: Fit, fitted: tuple[PipelineModel, Table]) -> None:
    assert fingerprint(fit()[0]) == fingerprint(fitted[0])


def test_a_saved_model_gives_the_same_answers(
    spark: SparkSession, fitted: tuple[PipelineModel, Table], tmp_path: Path
) -> None:
    from pyspark.ml import PipelineModel

    fitted[0].write().save(str(tmp_path / "model"))
    frame = trips(spark, list(DIRT.values()))
    assert answers(PipelineModel.load(str(tmp_path / "model")), frame) == answers(fitted[0], frame)


@pytest.mark.parametrize("recipe", ["card-tip", "duration"])
def test_the_other_recipes_answer_a_trip_of_nulls(spark: SparkSession, fit: Fit, recipe: str) -> None:
    compiled = compile_recipe(RECIPES[recipe])
    model, _ = fit(recipe=recipe)
    schema = ", ".join(f"{name} {kind}" for name, kind in compiled.columns.items())
    row = model.transform(spark.createDataFrame([tuple([None] * len(compiled.columns))], schema)).head()
    assert math.isfinite(row["prediction"])


@pytest.mark.parametrize(
    ("name", "task"), [(name, task) for name, kind in ESTIMATORS.items() for task in kind.tasks], ids=str
)
def test_every_estimator_is_built_for_each_of_its_tasks(name: str, task: Task) -> None:
    estimator = build_estimator(name, task, {}, seed=3)
    assert estimator.getOrDefault("labelCol") == "label"
    assert type(estimator).__module__ == f"pyspark.ml.{task}"
    for bounded in (*ESTIMATORS[name].audit_at_most, *ESTIMATORS[name].audit_at_least):
        assert estimator.hasParam(bounded)


def test_an_unknown_estimator_or_hyper_parameter_is_named_with_the_closest() -> None:
    with pytest.raises(RecipeError, match="Did you mean 'random_forest'"):
        build_estimator("random_forrest", "regression", {})
    with pytest.raises(RecipeError, match=r"logistic_regression does no regression. It does classification"):
        build_estimator("logistic_regression", "regression", {})
    with pytest.raises(UsageError, match=r"no hyper-parameter 'regParm'\. Did you mean 'regParam'"):
        build_estimator("logistic_regression", "classification", {"regParm": 1})
    with pytest.raises(UsageError, match="does not take regParam=much"):
        build_estimator("logistic_regression", "classification", {"regParam": "much"})
