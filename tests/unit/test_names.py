"""Names of models, and how values stand in MLflow's filters: read again by MLflow's own parser."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mlflow.utils.search_utils import SearchModelVersionUtils

from taxiway.errors import RecipeError, UsageError
from taxiway.names import LONGEST, begins_with, check_name, equals, folder_name, impossible, quote, unusable
from taxiway.recipes import compile_recipe
from taxiway.recipes.builtin import RECIPES

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.text("'\"\\\\%_a ", max_size=12)


def parsed(condition: str) -> Any:
    """What MLflow reads in a condition, between two others."""
    clauses = SearchModelVersionUtils.parse_search_filter(f"run_id = 'x' AND {condition} AND source_path = \"y\"")
    assert [clause["key"] for clause in clauses] == ["run_id", "name", "source_path"]
    return clauses[1]


@given(TEXTS)
def test_mlflow_reads_the_very_value_or_a_pattern_of_it(value: str) -> None:
    read = parsed(equals("name", value))
    if read["comparator"] == "=":
        assert read["value"] == value
    else:
        assert read["comparator"] == "LIKE"
        assert re.fullmatch(as_regex(read["value"]), value, re.DOTALL)


@given(TEXTS, TEXTS)
def test_a_beginning_finds_whatever_begins_so(beginning: str, rest: str) -> None:
    read = parsed(begins_with("name", beginning))
    assert re.fullmatch(as_regex(read["value"]), beginning + rest, re.DOTALL)


def as_regex(pattern: str) -> str:
    """SQL's pattern, in which PostgreSQL would take a backslash for an escape: there may be none."""
    assert "\\" not in pattern
    return "".join({"_": ".", "%": ".*"}.get(character, re.escape(character)) for character in pattern)


@pytest.mark.parametrize(
    "name", ["tip", "o'hare", 'a "b" c', "a%b_c\\\\", "日本 語", "gorjeta no cartão", ".hidden", "a.b", "x" * LONGEST]
)
def test_names_that_a_recipe_may_have(name: str) -> None:
    assert unusable(name) == impossible(name) == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "not empty"),
        ("  ", "not empty"),
        ("a/b", "no / and no :"),
        ("a:b", "no / and no :"),
        (".", "does not begin with"),
        ("..", "does not begin with"),
        ("..tip", "does not begin with"),
        ("t\0p", "zero bytes"),
        ("t\udcffp", "broken characters"),
    ],
)
def test_names_that_no_model_can_have(name: str, words: str) -> None:
    assert words in impossible(name)
    assert words in unusable(name)
    with pytest.raises(UsageError, match="There can be no model") as caught:
        check_name(name)
    str(caught.value).encode()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (" tip", "no blank at its ends"),
        ("tip\u3000", "no blank at its ends"),
        ("two\nlines", "one line"),
        ("bell\a", "control characters"),
        ("what?", "cannot hold ?"),
        ("x" * (LONGEST + 1), "has 256 characters at most, this one has 257"),
    ],
)
def test_names_that_a_recipe_may_not_have_though_a_model_can(name: str, words: str) -> None:
    assert words in unusable(name)
    check_name(name)


@pytest.mark.parametrize("name", ["tip/2", "a:b", "", "..", " tip ", "what?"])
def test_a_recipe_is_told_of_its_name_before_training(name: str) -> None:
    with pytest.raises(RecipeError, match=r"the name of a model|the address of a version"):
        compile_recipe(replace(RECIPES["tip"], name=name))


def test_a_recipe_may_be_called_anything_else() -> None:
    assert compile_recipe(replace(RECIPES["tip"], name="o'hare 50%")).recipe.name == "o'hare 50%"


@given(TEXTS)
def test_a_folder_that_every_system_and_address_can_hold(name: str) -> None:
    folder = folder_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", folder) or folder == name
    assert folder not in (".", "..")


@given(TEXTS, TEXTS)
def test_two_names_have_two_folders(one: str, other: str) -> None:
    assume(one != other)
    assert folder_name(one) != folder_name(other)


def test_plain_names_keep_their_folder() -> None:
    assert [folder_name(name) for name in ("tip", "card-tip", "tip_2.1")] == ["tip", "card-tip", "tip_2.1"]
    assert folder_name("日本").startswith("model-")


@given(TEXTS)
def test_a_word_that_a_shell_gives_back(word: str) -> None:
    assert shlex.split(quote(word)) == [word]


@pytest.mark.parametrize(
    ("word", "shown"), [("tip/3", "tip/3"), ("o'hare", '"o\'hare"'), ("a b", "'a b'"), ("$'", """'$'"'"''""")]
)
def test_a_word_for_a_shell_is_easy_to_read(word: str, shown: str) -> None:
    assert quote(word) == shown
