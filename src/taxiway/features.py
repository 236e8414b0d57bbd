"""Feature logic: columns of a trip -> columns that a model reads. No input or output here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taxiway.recipes import CompiledRecipe

if TYPE_CHECKING:
    from pyspark.sql import Column

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


def label_value(recipe: CompiledRecipe) -> Column:
    """What a recipe asks, of a trip: a double; null where the trip does not tell, or tells no finite number."""
    from pyspark.sql import functions as F

    label = F.expr(recipe.label)
    # Not a number is greater than infinity to Spark.
    return F.when(F.abs(label) < F.lit(float("inf")), label)
