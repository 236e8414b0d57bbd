"""A recipe by its name, or from a user's own file."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

from taxiway.errors import NotFound, RecipeError, did_you_mean
from taxiway.recipes.builtin import RECIPES
from taxiway.recipes.compiled import CompiledRecipe, compile_recipe
from taxiway.recipes.recipe import Recipe


def load_recipe(recipe: str | Path | Recipe) -> CompiledRecipe:
    """Find a recipe and check it.

    Parameters
    ----------
    recipe : str or Path or Recipe
        The name of a built-in recipe, a Python file that defines exactly one `Recipe`, or the
        recipe itself.

    Returns
    -------
    CompiledRecipe

    Raises
    ------
    NotFound
        No recipe of that name, or no such file.
    RecipeError
        The file cannot be run, defines no recipe, or its recipe is faulty.
    """
    if isinstance(recipe, Recipe):
        return compile_recipe(recipe)
    if isinstance(recipe, Path) or recipe.endswith(".py"):
        return _compile_file(Path(recipe))
    if recipe not in RECIPES:
        raise NotFound(f"There is no recipe '{recipe}'", f"{did_you_mean(recipe, RECIPES)}")
    return compile_recipe(RECIPES[recipe])


def _compile_file(file: Path) -> CompiledRecipe:
    recipe = _read_file(file)
    try:
        return compile_recipe(recipe)
    except RecipeError as error:
        raise RecipeError(f"{file}: {error.message}", error.remedy) from error


def _read_file(file: Path) -> Recipe:
    try:
        source = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"There is no recipe file {file}", "Check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"The recipe file {file} cannot be read", str(error)) from error
    names: dict[str, Any] = {"__name__": "taxiway_recipe", "__file__": str(file)}
    try:
        exec(compile(source, str(file), "exec"), names)  # noqa: S102  # a recipe is a Python file that its user names, as with `python FILE`
    except SyntaxError as error:
        raise RecipeError(f"{file}, line {error.lineno}: {error.msg}", "Correct the syntax") from error
    except (Exception, SystemExit) as error:  # whatever a user's file may raise is a fault of that file
        line = _line_in(file, error)
        detail = " ".join(str(error).split())
        raise RecipeError(f"{file}, line {line}: {type(error).__name__}: {detail}", "Correct the file") from error
    found = [value for name, value in names.items() if isinstance(value, Recipe) and not name.startswith("_")]
    found = list({id(value): value for value in found}.values())
    if len(found) != 1:
        raise RecipeError(f"{file} defines {len(found)} recipes", "Define exactly one: recipe = Recipe(…)")
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", found[0].name):
        raise RecipeError(f"{file}: the name '{found[0].name}' is not usable", "Use lower-case letters, digits and -")
    if found[0].name in RECIPES:
        raise RecipeError(f"{file}: '{found[0].name}' is the name of a built-in recipe", "Choose another name")
    return found[0]


def _line_in(file: Path, error: BaseException) -> int | None:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return lines[-1] if lines else None
