"""Feature logic: columns of a trip -> columns that a model reads. No input or output here."""

from __future__ import annotations

from taxiway.recipes import CompiledRecipe

PREFIX = "feature_"
"""Prefix of computed features, so that a feature never shadows a trip's own column."""

LABEL = "label"


def feature_column(name: str) -> str:
    """The name of the column that holds a feature of a recipe."""
    return f"{PREFIX}{name}"


def feature_statement(recipe: CompiledRecipe) -> str:
    """All features of a recipe as one statement for Spark's `SQLTransformer`.

    Parameters
    ----------
    recipe : CompiledRecipe

    Returns
    -------
    str
        ``SELECT *, … FROM __THIS__``: every column of the trip stays, numeric features are
        doubles, categorical ones are strings; null where the trip does not tell.
    """
    kinds = {
        **dict.fromkeys(recipe.recipe.numeric, "DOUBLE"),
        **dict.fromkeys(recipe.recipe.categorical, "STRING"),
    }
    computed = (
        f"CAST({expression} AS {kinds[name]}) AS {feature_column(name)}" for name, expression in recipe.features.items()
    )
    return " ".join(("SELECT", ", ".join(("*", *computed)), "FROM __THIS__"))
