"""What is predicted from a trip: rows it concerns, label, features, estimators, metric."""

from taxiway.recipes.builtin import RECIPES
from taxiway.recipes.compiled import CompiledRecipe, CompiledRule, compile_recipe
from taxiway.recipes.loading import load_recipe
from taxiway.recipes.recipe import Estimator, Range, Recipe, Rule

__all__ = [
    "RECIPES",
    "CompiledRecipe",
    "CompiledRule",
    "Estimator",
    "Range",
    "Recipe",
    "Rule",
    "compile_recipe",
    "load_recipe",
]
