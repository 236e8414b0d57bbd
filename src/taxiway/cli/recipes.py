"""``taxiway recipes``: what can be predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from taxiway.cli.options import with_json, with_settings

if TYPE_CHECKING:
    from taxiway.recipes import CompiledRecipe
    from taxiway.settings import Settings


@click.command("recipes")
@click.argument("recipe", required=False)
@with_json
@with_settings
def command(settings: Settings, recipe: str | None, as_json: bool) -> None:
    """List what can be predicted, or show one RECIPE: a name, or a Python file to check it.

    \b
    Example:  taxiway recipes
              taxiway recipes card-tip
              taxiway recipes my_recipe.py
    """
    from taxiway.cli.output import print_json, print_table
    from taxiway.recipes import RECIPES, load_recipe

    found = [load_recipe(recipe)] if recipe else [load_recipe(name) for name in RECIPES]
    if as_json:
        print_json([document(item) for item in found])
    elif recipe:
        _print_one(found[0])
    else:
        rows = [
            (
                item.recipe.name,
                item.recipe.description,
                item.recipe.chosen_metric,
                ", ".join(e.name for e in item.recipe.estimators),
            )
            for item in found
        ]
        print_table("Recipes", ("recipe", "question", "metric", "estimators"), rows)


def document(compiled: CompiledRecipe) -> dict[str, Any]:
    """A recipe as JSON shows it."""
    from taxiway.recipes.estimators import ESTIMATORS

    recipe = compiled.recipe
    return {
        "name": recipe.name,
        "description": recipe.description,
        "task": recipe.task,
        "label": recipe.label,
        "metric": recipe.chosen_metric,
        "numeric": list(recipe.numeric),
        "categorical": list(recipe.categorical),
        "features": dict(compiled.features),
        "known_after": list(recipe.known_after),
        "rules": [
            {"name": rule.name, "condition": rule.condition, "at_scoring": rule.at_scoring} for rule in compiled.rules
        ],
        "estimators": [
            {
                "name": item.name,
                "categories": ESTIMATORS[item.name].categories,
                "fixed": dict(item.fixed),
                "sweep": {key: list(values) for key, values in item.sweep.items()},
                "space": {key: [bounds.low, bounds.high] for key, bounds in item.space.items()},
            }
            for item in recipe.estimators
        ],
        "holdout_months": recipe.holdout_months,
    }


def _print_one(compiled: CompiledRecipe) -> None:
    from taxiway.cli.output import print_table, say
    from taxiway.recipes.estimators import ESTIMATORS

    recipe = compiled.recipe
    say(f"{recipe.name}: {recipe.description}", style="bold")
    say(f"Label: {recipe.label}{f' ({recipe.unit})' if recipe.unit else ''}. Metric: {recipe.chosen_metric}.")
    kinds = {**dict.fromkeys(recipe.numeric, "number"), **dict.fromkeys(recipe.categorical, "category")}
    features = [(name, kind, " ".join(recipe.features.get(name, name).split())) for name, kind in kinds.items()]
    print_table("Features", ("feature", "kind", "SQL"), features)
    asked = {rule.name: rule.at_scoring for rule in compiled.rules}
    rules = [(rule.name, " ".join(rule.condition.split()), asked[rule.name]) for rule in recipe.rules]
    print_table("Rules", ("rule", "condition", "asked at scoring"), rules)
    estimators = [
        (
            item.name,
            ESTIMATORS[item.name].categories,
            _pairs(item.fixed),
            _pairs(item.sweep),
            ", ".join(item.space),
        )
        for item in recipe.estimators
    ]
    print_table("Estimators", ("estimator", "categories", "fixed", "sweep", "search space"), estimators)


def _pairs(values: Any) -> str:
    return "; ".join(
        f"{key}={', '.join(map(str, value)) if isinstance(value, tuple) else value}" for key, value in values.items()
    )
