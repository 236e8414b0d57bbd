"""A compiled recipe as a document, and back: what a version needs to be used without its recipe file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taxiway.errors import RecipeError
from taxiway.recipes.compiled import CompiledRecipe, CompiledRule
from taxiway.recipes.recipe import Recipe, Rule
from taxiway.trips.schema import LAYOUTS, Column, Layout

if TYPE_CHECKING:
    from collections.abc import Mapping


def write_document(compiled: CompiledRecipe) -> dict[str, Any]:
    """Write a compiled recipe as what JSON can hold.

    Parameters
    ----------
    compiled : CompiledRecipe

    Returns
    -------
    dict
        Expressions twice: as written in the recipe, and under ``spark`` as Spark runs them.
        Estimators are left out, since a run's parameters tell them. Layouts only where they are
        the recipe's own: new ways to publish yellow and green trips are learned by Taxiway.
    """
    recipe = compiled.recipe
    own = recipe.layouts != LAYOUTS
    return {
        "name": recipe.name,
        "description": recipe.description,
        "task": recipe.task,
        "label": recipe.label,
        "features": dict(recipe.features),
        "numeric": list(recipe.numeric),
        "categorical": list(recipe.categorical),
        "known_after": list(recipe.known_after),
        "rules": {rule.name: rule.condition for rule in recipe.rules},
        "metric": recipe.chosen_metric,
        "holdout_months": recipe.holdout_months,
        "unit": recipe.unit,
        "layouts": {name: _write_layout(layout) for name, layout in recipe.layouts.items()} if own else None,
        "spark": {
            "columns": dict(compiled.columns),
            "features": dict(compiled.features),
            "label": compiled.label,
            "rules": [
                {"name": rule.name, "condition": rule.condition, "at_scoring": rule.at_scoring}
                for rule in compiled.rules
            ],
        },
    }


def read_document(document: Mapping[str, Any]) -> CompiledRecipe:
    """Read what `write_document` wrote; the recipe has no estimators.

    Raises
    ------
    RecipeError
        The document is not one of a recipe.
    """
    try:
        return _read(document)
    except (KeyError, TypeError, AttributeError) as error:
        raise RecipeError(
            f"The recipe that was recorded with the model cannot be read ({type(error).__name__}: {error})",
            "Train it again with this version of Taxiway",
        ) from error


def _read(document: Mapping[str, Any]) -> CompiledRecipe:
    layouts = document["layouts"]
    recipe = Recipe(
        name=document["name"],
        description=document["description"],
        task=document["task"],
        label=document["label"],
        estimators=(),
        numeric=tuple(document["numeric"]),
        categorical=tuple(document["categorical"]),
        features=dict(document["features"]),
        known_after=tuple(document["known_after"]),
        rules=tuple(Rule(name, condition) for name, condition in document["rules"].items()),
        metric=document["metric"],
        holdout_months=document["holdout_months"],
        unit=document["unit"],
        layouts=LAYOUTS if layouts is None else {name: _read_layout(item) for name, item in layouts.items()},
    )
    spark = document["spark"]
    return CompiledRecipe(
        recipe=recipe,
        columns=dict(spark["columns"]),
        features=dict(spark["features"]),
        label=spark["label"],
        rules=tuple(CompiledRule(rule["name"], rule["condition"], rule["at_scoring"]) for rule in spark["rules"]),
    )


def _write_layout(layout: Layout) -> dict[str, Any]:
    columns = [
        {
            "name": column.name,
            "type": column.type,
            "published_as": list(column.published_as),
            "required": column.required,
            "codes": dict(column.codes),
        }
        for column in layout.columns
    ]
    return {
        "colour": layout.colour,
        "columns": columns,
        "files": list(layout.files),
        "azure_folder": layout.azure_folder,
        "first": list(layout.first),
        "time": layout.time,
    }


def _read_layout(document: Mapping[str, Any]) -> Layout:
    year, month = document["first"]
    columns = tuple(
        Column(item["name"], item["type"], tuple(item["published_as"]), item["required"], dict(item["codes"]))
        for item in document["columns"]
    )
    return Layout(
        colour=document["colour"],
        columns=columns,
        files=tuple(document["files"]),
        azure_folder=document["azure_folder"],
        first=(year, month),
        time=document["time"],
    )
