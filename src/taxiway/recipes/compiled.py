"""A recipe with every expression parsed, checked and expanded down to canonical columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from taxiway.errors import RecipeError, TaxiwayError, did_you_mean
from taxiway.names import unusable
from taxiway.recipes import sql
from taxiway.recipes.estimators import ESTIMATORS
from taxiway.recipes.metrics import METRICS
from taxiway.recipes.recipe import Recipe
from taxiway.trips.schema import PROVENANCE, Layout


@dataclass(frozen=True)
class CompiledRule:
    """A rule in Spark SQL.

    Parameters
    ----------
    name : str
        As in the recipe.
    condition : str
        Spark SQL over canonical columns, true for a usable trip, null where it cannot be told.
    at_scoring : bool
        Whether all it reads is known when the prediction is made.
    """

    name: str
    condition: str
    at_scoring: bool


@dataclass(frozen=True)
class CompiledRecipe:
    """What Spark needs of a recipe.

    Parameters
    ----------
    recipe : Recipe
        Where it came from.
    columns : mapping of str to str
        Canonical columns the features read, with their Spark SQL types: the model's signature.
    features : mapping of str to str
        Each input of the estimator as Spark SQL over canonical columns.
    label : str
        The label as Spark SQL, of type double.
    rules : tuple of CompiledRule
        In the order they are asked.
    """

    recipe: Recipe
    columns: Mapping[str, str]
    features: Mapping[str, str]
    label: str
    rules: tuple[CompiledRule, ...]

    @property
    def reads(self) -> frozenset[str]:
        """Every column that a feature, a rule or the label reads."""
        texts = (*self.features.values(), self.label, *(rule.condition for rule in self.rules))
        return frozenset(name for text in texts for name in sql.columns_in(text))


def compile_recipe(recipe: Recipe) -> CompiledRecipe:
    """Check a recipe and write its expressions as Spark SQL.

    Parameters
    ----------
    recipe : Recipe

    Returns
    -------
    CompiledRecipe

    Raises
    ------
    RecipeError
        All that is wrong with the recipe, in one message.
    """
    return _Compiler(recipe).compile()


class _Compiler:
    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.faults: list[str] = []
        self.types = _column_types(recipe.layouts)
        self.features: dict[str, exp.Expr] = {}

    def compile(self) -> CompiledRecipe:
        self._check_declarations()
        self._read_features()
        inputs = {name: self._input(name) for name in self.recipe.inputs}
        label = self._expression(self.recipe.label, "label", {})
        rules = [
            (rule, self._expression(rule.condition, f"rule '{rule.name}'", PROVENANCE)) for rule in self.recipe.rules
        ]
        if self.faults:
            raise RecipeError(f"Recipe '{self.recipe.name}': {'; '.join(self.faults)}")
        read = dict.fromkeys(name for tree in inputs.values() if tree for name in sql.columns_of(tree))
        return CompiledRecipe(
            recipe=self.recipe,
            columns={name: kind for name, kind in self.types.items() if name in read},
            features={name: self._spark(tree) for name, tree in inputs.items() if tree},
            label=f"CAST({self._spark(label)} AS DOUBLE)" if label else "",
            rules=tuple(self._rule(rule.name, tree) for rule, tree in rules if tree),
        )

    def _check_declarations(self) -> None:
        recipe = self.recipe
        if fault := unusable(recipe.name):
            self.faults.append(f"{fault}. Choose another name")
        if recipe.task not in METRICS:
            self.faults.append(f"unknown task '{recipe.task}'. {did_you_mean(recipe.task, METRICS)}")
        elif recipe.chosen_metric not in METRICS[recipe.task]:
            hint = did_you_mean(recipe.chosen_metric, METRICS[recipe.task])
            self.faults.append(f"unknown metric '{recipe.chosen_metric}'. {hint}")
        if not recipe.inputs:
            self.faults.append("no numeric and no categorical feature. Name at least one")
        if not recipe.estimators:
            self.faults.append("no estimator. Name at least one")
        self._check_estimators()
        rules = [rule.name for rule in recipe.rules]
        self.faults += [f"'{name}' is listed twice among the features" for name in _repeated(recipe.inputs)]
        self.faults += [f"two rules are called '{name}'" for name in _repeated(rules)]
        for kind, names in (("feature", recipe.features), ("rule", rules), ("column", self.types)):
            self.faults += [
                f"{kind} '{name}' has an unusable name. Use letters, digits and underscores"
                for name in names
                if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)
            ]
        for name in recipe.known_after:
            if name not in self.types:
                self.faults.append(f"known_after names an unknown column '{name}'. {did_you_mean(name, self.types)}")

    def _check_estimators(self) -> None:
        for estimator in self.recipe.estimators:
            kind = ESTIMATORS.get(estimator.name)
            if kind is None:
                self.faults.append(f"unknown estimator '{estimator.name}'. {did_you_mean(estimator.name, ESTIMATORS)}")
            elif self.recipe.task in METRICS and self.recipe.task not in kind.tasks:
                self.faults.append(f"{estimator.name} does no {self.recipe.task}. It does {' and '.join(kind.tasks)}")

    def _read_features(self) -> None:
        for name, text in self.recipe.features.items():
            if name in self.types or name in PROVENANCE:
                self.faults.append(f"feature '{name}' has the name of a column. Give it another name")
                continue
            tree = self._expression(text, f"feature '{name}'", {})
            if tree is not None:
                self.features[name] = tree

    def _input(self, name: str) -> exp.Expr | None:
        if name not in self.features and name not in self.types:
            if name not in self.recipe.features:
                known = [*self.recipe.features, *self.types]
                self.faults.append(f"unknown column or feature '{name}'. {did_you_mean(name, known)}")
            return None
        tree = self.features.get(name, exp.column(name))
        late = [column for column in sql.columns_of(tree) if column in self.recipe.known_after]
        if late:
            self.faults.append(f"feature '{name}' reads {', '.join(late)}, known only after the prediction")
        return tree

    def _expression(self, text: str, where: str, more: Mapping[str, str]) -> exp.Expr | None:
        try:
            tree = sql.expand(sql.parse(text, where), self.features, where)
            # A feature that failed itself is reported once, where it is defined.
            if not set(sql.columns_of(tree)) & (set(self.recipe.features) - set(self.features)):
                sql.check_columns(tree, [*self.types, *more], where)
        except TaxiwayError as error:
            self.faults.append(str(error))
            return None
        return tree

    def _rule(self, name: str, tree: exp.Expr) -> CompiledRule:
        late = {*self.recipe.known_after, *PROVENANCE}
        return CompiledRule(name, self._spark(tree), late.isdisjoint(sql.columns_of(tree)))

    def _spark(self, tree: exp.Expr) -> str:
        return sql.to_spark(sql.robust(tree, {**self.types, **PROVENANCE}))


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def _column_types(layouts: Mapping[str, Layout]) -> dict[str, str]:
    return {column.name: column.type for layout in layouts.values() for column in layout.columns}
