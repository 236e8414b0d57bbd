"""Feature SQL: what is refused, with which words, and what dirt does to what is left."""

from __future__ import annotations

import pytest
from sqlglot import parse_one

from taxiway.errors import RecipeError
from taxiway.recipes import sql

TYPES = {"a": "int", "x": "double", "text": "string", "at": "timestamp_ntz"}


def spark(text: str) -> str:
    return sql.to_spark(sql.robust(sql.parse(text, "test"), TYPES))


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("dayofweek(at)", "date_format(column, 'EEEE')"),
        ("WEEKDAY (at)", "date_format(column, 'EEEE')"),
        ("log(x)", "ln(nullif(column, 0))"),
        ("log10(x)", "ln(10)"),
        ("substring(text, 0, 2)", "left or right"),
        ("unix_timestamp(at)", "timestampdiff(SECOND"),
        ("pmod(a, 7)", "%"),
        ("isnull(a)", "is null"),
        ("xxhash64(text)", "as a category"),
        ("extract(dow from at)", "date_format"),
        ("date_part('dow', at)", "date_format"),
        ("1 + case when a > 1 then months_between(at, at) end", "timestampdiff(SECOND"),
    ],
)
def test_a_function_that_engines_read_differently_is_refused_with_its_replacement(text: str, remedy: str) -> None:
    with pytest.raises(RecipeError, match="engines read differently") as refused:
        sql.parse(text, "feature 'f'")
    assert remedy in refused.value.remedy
    assert "feature 'f'" in refused.value.message


@pytest.mark.parametrize("unit", ["MINUTE", "HOUR", "DAY"])
def test_time_is_counted_in_seconds(unit: str) -> None:
    with pytest.raises(RecipeError, match="round differently"):
        sql.parse(f"timestampdiff({unit}, at, at)", "label")
    assert "TIMESTAMPDIFF(SECOND" in spark("timestampdiff(SECOND, at, at)")


def test_days_between_dates_are_refused_too() -> None:
    with pytest.raises(RecipeError, match="round differently"):
        sql.parse("datediff(at, at)", "label")


@pytest.mark.parametrize("text", ["cast(x as int)", "x::bigint", "int(x)", "try_cast(x as smallint)"])
def test_a_cast_to_a_whole_number_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="casts to a whole number") as refused:
        sql.parse(text, "feature 'f'")
    assert "floor" in refused.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        *("sum(x)", "max(a)", "count(*)", "row_number()", "lag(a)", "rank() over (order by a)", "avg(x) over ()"),
        *("(select 1)", "exists(select 1)", "select a", "explode(array(a))", "*", "drop table trips", "?", ":p"),
    ],
)
def test_an_expression_sees_its_own_row_alone(text: str) -> None:
    with pytest.raises(RecipeError, match="beyond its own row"):
        sql.parse(text, "rule 'r'")


@pytest.mark.parametrize("text", ["rand()", "uuid()", "current_timestamp", "current_date()"])
def test_neither_chance_nor_the_clock_is_a_feature(text: str) -> None:
    with pytest.raises(RecipeError, match="another value each time"):
        sql.parse(text, "feature 'f'")


@pytest.mark.parametrize("text", ["a as b", "a b", "trips.a"])
def test_names_beside_the_columns_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="not a plain expression"):
        sql.parse(text, "feature 'f'")


def test_an_unknown_function_is_named_with_the_closest_one() -> None:
    with pytest.raises(RecipeError, match=r"unknown function hoour\(\)\. Did you mean 'hour'\?"):
        sql.parse("hoour(at)", "feature 'f'")


@pytest.mark.parametrize("text", ["hour(at", "case when a > 1 then 2", "a +", "'open", "", "   ", "a; a"])
def test_a_syntax_error_is_one_line_with_the_text(text: str) -> None:
    with pytest.raises(RecipeError) as refused:
        sql.parse(text, "feature 'f'")
    assert "\n" not in str(refused.value)
    assert "\x1b" not in str(refused.value)
    assert text.strip() in refused.value.message


def test_an_unknown_column_is_named_with_the_closest_one() -> None:
    with pytest.raises(RecipeError, match=r"unknown column 'fare_amout'\. Did you mean 'fare_amount'\?"):
        sql.check_columns(sql.parse("fare_amout + 1", "label"), ["fare_amount", "tip_amount"], "label")


def test_columns_of_names_each_once_in_order() -> None:
    assert sql.columns_of(sql.parse("b + a * b - coalesce(c, a)", "label")) == ("b", "a", "c")


def test_features_expand_through_features_down_to_columns() -> None:
    definitions = {"minutes": sql.parse("a + 1", "f"), "double_minutes": sql.parse("2 * minutes", "f")}
    expanded = sql.expand(sql.parse("double_minutes / minutes", "f"), definitions, "f")
    assert sql.columns_of(expanded) == ("a",)
    # The brackets matter: 2 * (a + 1), not 2 * a + 1.
    assert expanded == parse_one("(2 * (a + 1)) / (a + 1)", dialect="spark")


def test_features_that_define_each_other_are_refused() -> None:
    definitions = {"one": sql.parse("two", "f"), "two": sql.parse("one", "f")}
    with pytest.raises(RecipeError, match="refers to itself"):
        sql.expand(sql.parse("one", "f"), definitions, "feature 'one'")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text", "TRY_CAST(text AS STRING)"),
        ("cast(text as double)", "TRY_CAST(TRY_CAST(text AS STRING) AS DOUBLE)"),
        ("a", "TRY_CAST(TRY_CAST(a AS DOUBLE) AS INT)"),
        ("x / x", "TRY_CAST(x AS DOUBLE) / NULLIF((TRY_CAST(x AS DOUBLE)), 0)"),
        ("x % x", "TRY_CAST(x AS DOUBLE) % NULLIF((TRY_CAST(x AS DOUBLE)), 0)"),
        ("x + x", "TRY_ADD(TRY_CAST(x AS DOUBLE), TRY_CAST(x AS DOUBLE))"),
        ("x > 1.5", "TRY_CAST(x AS DOUBLE) > CAST(1.5 AS DOUBLE)"),
        ("x > 1", "TRY_CAST(x AS DOUBLE) > 1"),
    ],
)
def test_what_could_raise_in_ansi_mode_is_written_so_that_it_cannot(text: str, expected: str) -> None:
    assert spark(text) == expected
