"""Recipes: the built-in ones say what they should, a user's file is read, and every fault is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from taxiway.errors import NotFound, RecipeError, UsageError
from taxiway.features import feature_statement
from taxiway.recipes import RECIPES, Estimator, Recipe, Rule, compile_recipe, load_recipe
from taxiway.trips.months import Month, describe_months, parse_months
from taxiway.trips.schema import YELLOW, match_columns

LOGISTIC = (Estimator("logistic_regression", sweep={"regParam": (0.0, 0.1)}),)


def recipe(**changes: Any) -> Recipe:
    plain = Recipe(
        name="test",
        description="A recipe for tests.",
        task="classification",
        label="tip_amount > 0",
        numeric=("fare_amount",),
        known_after=("tip_amount",),
        estimators=LOGISTIC,
    )
    return dataclasses.replace(plain, **changes)


@pytest.mark.parametrize("name", ["tip", "card-tip", "duration"])
def test_built_in_recipes_compile(name: str) -> None:
    compiled = load_recipe(name)
    assert compiled.recipe is RECIPES[name]
    assert set(compiled.features) == set(compiled.recipe.inputs)
    assert not set(compiled.columns) & set(compiled.recipe.known_after)


def test_the_exercise_sweeps_ten_regularisation_values() -> None:
    estimator = RECIPES["tip"].estimators[0]
    assert estimator.name == "logistic_regression"
    assert len(set(estimator.sweep["regParam"])) == 10


def test_the_honest_question_does_not_read_the_payment_type() -> None:
    assert "payment_type" not in load_recipe("card-tip").columns
    assert "payment_type" in load_recipe("tip").columns


def test_duration_reads_nothing_that_only_the_trip_itself_tells() -> None:
    assert set(load_recipe("duration").columns) == {
        *("vendor_id", "pickup_at", "passenger_count", "pickup_zone_id", "dropoff_zone_id")
    }


def test_rules_that_read_what_comes_after_are_not_asked_at_scoring() -> None:
    asked = {rule.name: rule.at_scoring for rule in load_recipe("tip").rules}
    assert not asked["tip_0_to_25_usd"]
    assert not asked["tip_below_fare"]
    assert not asked["pickup_in_its_month"]
    assert asked["fare_1_to_250_usd"]
    assert asked["paid_by_card_or_cash"]


def test_a_rule_that_reads_the_label_through_a_feature_is_not_asked_either() -> None:
    compiled = compile_recipe(
        recipe(features={"share": "tip_amount / fare_amount"}, rules=(Rule("small_share", "share < 2"),))
    )
    assert [rule.at_scoring for rule in compiled.rules] == [False]


def test_a_feature_that_reads_the_label_through_a_feature_is_refused() -> None:
    with pytest.raises(RecipeError, match="feature 'twice' reads tip_amount, known only after"):
        compile_recipe(recipe(features={"share": "tip_amount / fare_amount", "twice": "2 * share"}, numeric=("twice",)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"numeric": ("fare_amout",)}, "unknown column or feature 'fare_amout'. Did you mean 'fare_amount'?"),
        ({"label": "tip_amuont > 0"}, "The label reads an unknown column 'tip_amuont'. Did you mean 'tip_amount'?"),
        ({"rules": (Rule("r", "trip_distanc > 0"),)}, "Did you mean 'trip_distance'?"),
        ({"features": {"f": "hour(pikup_at)"}}, "The feature 'f' reads an unknown column 'pikup_at'"),
        ({"features": {"fare_amount": "1"}}, "feature 'fare_amount' has the name of a column"),
        ({"features": {"month": "1"}}, "feature 'month' has the name of a column"),
        ({"features": {"f": "month"}}, "unknown column 'month'"),
        ({"known_after": ("tipp_amount",)}, "known_after names an unknown column 'tipp_amount'"),
        ({"numeric": ("tip_amount",)}, "feature 'tip_amount' reads tip_amount, known only after"),
        ({"numeric": ("fare_amount", "fare_amount")}, "'fare_amount' is listed twice"),
        ({"categorical": ("fare_amount",)}, "'fare_amount' is listed twice"),
        ({"numeric": ()}, "no numeric and no categorical feature"),
        ({"estimators": ()}, "no estimator"),
        ({"task": "clasification"}, "unknown task 'clasification'. Did you mean 'classification'?"),
        ({"metric": "auc"}, "unknown metric 'auc'"),
        (
            {"rules": (Rule("twice", "fare_amount > 0"), Rule("twice", "fare_amount < 9"))},
            "two rules are called 'twice'",
        ),
        ({"estimators": (Estimator("logistic_regresion"),)}, "Did you mean 'logistic_regression'?"),
        ({"rules": (Rule("it's", "fare_amount > 0"),)}, "rule 'it's' has an unusable name"),
        ({"features": {"my feature": "1"}, "numeric": ("my feature",)}, "'my feature'"),
    ],
)
def test_a_fault_in_a_recipe_is_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(RecipeError) as refused:
        compile_recipe(recipe(**changes))
    assert words in str(refused.value)
    assert refused.value.exit_code == 8


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(RecipeError) as refused:
        compile_recipe(recipe(label="tipp > 0", numeric=("farre_amount",), features={"f": "hour("}))
    assert all(word in str(refused.value) for word in ("tipp", "farre_amount", "hour("))


def test_a_feature_that_failed_is_told_once() -> None:
    with pytest.raises(RecipeError) as refused:
        compile_recipe(recipe(features={"f": "hour(pikup_at)", "g": "f + 1"}, numeric=("g",), categorical=("f",)))
    assert str(refused.value).count("pikup_at") == 1
    assert "unknown column 'f'" not in str(refused.value)


def test_numbers_are_doubles_and_categories_are_text_in_the_statement() -> None:
    statement = feature_statement(compile_recipe(recipe(categorical=("payment_type",))))
    assert statement.startswith("SELECT *, ")
    assert "AS DOUBLE) AS feature_fare_amount" in statement
    assert "AS STRING) AS feature_payment_type" in statement


@pytest.mark.parametrize("name", ["tpi", "card_tip"])
def test_an_unknown_recipe_is_named_with_the_closest_one(name: str) -> None:
    with pytest.raises(NotFound, match=f"There is no recipe '{name}'. Did you mean '"):
        load_recipe(name)


def write(folder: Path, text: str) -> Path:
    file = folder / "my_recipe.py"
    file.write_text(text)
    return file


GOOD = """
from taxiway.recipes import Estimator, Recipe

recipe = Recipe(
    name="long-trip",
    description="Is it far?",
    task="classification",
    label="trip_distance > 5",
    numeric=("fare_amount",),
    known_after=("trip_distance",),
    estimators=(Estimator("logistic_regression", sweep={"regParam": (0.0,)}),),
)
"""


def test_a_recipe_is_read_from_a_file(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    assert load_recipe(file).recipe.name == "long-trip"
    assert load_recipe(str(file)).columns == {"fare_amount": "double"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace('"Is it far?",', '"Is it far?'), "my_recipe.py, line 6: "),
        (GOOD + "\nx = 1 / 0\n", "my_recipe.py, line 14: ZeroDivisionError: division by zero"),
        (GOOD.replace("known_after", "known_afterwards"), "my_recipe.py, line 4: TypeError"),
        ("from taxiway.recipes import Recipee\n", "my_recipe.py, line 1: ImportError"),
        ("raise SystemExit(3)\n", "my_recipe.py, line 1: SystemExit"),
        ("x = 1\n", "defines 0 recipes"),
        (GOOD + GOOD.replace("recipe =", "other =").replace("long-trip", "other"), "defines 2 recipes"),
        (GOOD.replace("long-trip", "Long trip"), "the name 'Long trip' is not usable"),
        (GOOD.replace("long-trip", "tip"), "'tip' is the name of a built-in recipe"),
        (GOOD.replace('numeric=("fare_amount",)', 'numeric=("fare",)'), "Did you mean 'fare_amount'?"),
        (GOOD.replace('numeric=("fare_amount",)', 'numeric=("fare",)'), "my_recipe.py"),
        ("x = '\x00'\n", "my_recipe.py"),
    ],
)
def test_a_faulty_file_is_one_line_that_says_where(tmp_path: Path, text: str, words: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(RecipeError) as refused:
        load_recipe(file)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no recipe file"):
        load_recipe(tmp_path / "missing.py")


def test_a_file_that_is_not_text_is_said_so(tmp_path: Path) -> None:
    file = tmp_path / "binary.py"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(file)


def test_months_are_read_in_order_and_once() -> None:
    found = parse_months("green:2022-12..2023-02,yellow:2018-05,green:2023-01")
    assert [str(month) for month in found] == ["green:2022-12", "green:2023-01", "green:2023-02", "yellow:2018-05"]
    assert parse_months(["green:2023-01", "yellow:2018-05"]) == (Month("green", 2023, 1), Month("yellow", 2018, 5))
    assert parse_months(found) == found
    assert describe_months(found) == "green:2022-12..2023-02,yellow:2018-05"


@pytest.mark.parametrize(
    "text",
    [
        *("", "yellow", "yellow:2018", "yellow:2018-5", "2018-05", "yellow:2018-05-01", "yellow:2018-05...2018-06"),
        *(
            "yellow:2018-13",
            "yellow:2018-00",
            "yellow:0000-01",
            "yellow:2018-06..2018-05",
            "yellow:2018-05,",
            "yellow:2018-05..",
            "yellow:٢٠١٨-٠٥",
        ),
    ],
)
def test_a_malformed_range_is_quoted_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_months(text)
    assert "yellow:2018-05" in refused.value.remedy


def test_a_month_in_the_future_is_refused() -> None:
    with pytest.raises(NotFound, match="yellow:9999-12 lies in the future"):
        parse_months("yellow:9999-12")


def test_a_month_ends_where_the_next_one_starts() -> None:
    december = Month("yellow", 2018, 12)
    assert december.end == Month("yellow", 2019, 1).start


def test_missing_columns_are_named_with_the_closest_of_the_file() -> None:
    names = [*(column.name for column in YELLOW.columns if column.name != "fare_amount"), "fare_amnt"]
    from taxiway.errors import BadData

    with pytest.raises(BadData, match=r"file\.parquet lacks the columns fare_amount \(closest: fare_amnt\)"):
        match_columns(YELLOW, names, "file.parquet")
