"""A version carries its recipe: what is recorded with a run is enough to use its model."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from taxiway.errors import RecipeError
from taxiway.recipes import RECIPES, compile_recipe
from taxiway.recipes.document import read_document, write_document
from taxiway.trips.schema import GREEN, LAYOUTS


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_comes_back_from_its_document(name: str) -> None:
    compiled = compile_recipe(RECIPES[name])

    found = read_document(json.loads(json.dumps(write_document(compiled))))

    # A version is used, not trained again: its run's parameters tell the estimator.
    expected = replace(compiled.recipe, estimators=(), metric=compiled.recipe.chosen_metric)
    assert found == replace(compiled, recipe=expected)


def test_a_layout_of_the_recipes_own_comes_back_too() -> None:
    layouts = {"cabs": replace(GREEN, colour="cabs", files=("cabs_{month}.csv",), first=(2020, 2))}
    compiled = compile_recipe(replace(RECIPES["tip"], name="cab-tip", layouts=layouts))

    found = read_document(json.loads(json.dumps(write_document(compiled))))

    assert found.recipe.layouts == layouts
    assert found.rules == compiled.rules


def test_the_layouts_of_taxiway_itself_are_those_of_today() -> None:
    document = write_document(compile_recipe(RECIPES["tip"]))

    assert document["layouts"] is None
    assert read_document(document).recipe.layouts is LAYOUTS


def test_a_document_of_something_else_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"recorded with the model cannot be read.*'layouts'"):
        read_document({"name": "tip"})
