"""Which candidates a training tries: the recipe's sweep, a grid, or Optuna's choice."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from taxiway.errors import UsageError, did_you_mean
from taxiway.evaluation import HOLDOUT, Evaluation
from taxiway.parallel import side_by_side
from taxiway.recipes import Estimator, Range, Recipe
from taxiway.recipes.metrics import Task


@dataclass(frozen=True)
class Candidate:
    """One estimator with its hyper-parameters, and what became of it.

    Parameters
    ----------
    estimator : str
        As the recipe names it.
    task : {'classification', 'regression'}
    params : mapping of str to object
        Under Spark's names.
    model : object, optional
        The fitted stage.
    parts : mapping of str to Evaluation
        ``train`` and ``holdout``, once judged.
    started, seconds : float
        When the fit began (seconds since 1970) and how long it took.
    """

    estimator: str
    task: Task
    params: Mapping[str, Any]
    model: Any = None
    parts: Mapping[str, Evaluation] = field(default_factory=dict)
    started: float = 0.0
    seconds: float = 0.0

    @property
    def named_params(self) -> dict[str, Any]:
        """Hyper-parameters with the estimator's name."""
        return {"estimator": self.estimator, **self.params}

    @property
    def metrics(self) -> dict[str, float]:
        """``train_…`` and ``holdout_…``."""
        return {
            f"{part}_{name}": value
            for part, evaluation in sorted(self.parts.items())
            for name, value in evaluation.metrics.items()
        }

    def fitted(self, model: Any, started: float, seconds: float) -> Candidate:
        """The candidate with its fitted stage."""
        return replace(self, model=model, started=started, seconds=seconds)

    def judged(self, parts: Mapping[str, Evaluation]) -> Candidate:
        """The candidate with further evaluations."""
        return replace(self, parts={**self.parts, **parts})


# Spark's name for how many values of a feature a tree tells apart, and how many it does unless told otherwise.
_BINS = "maxBins"
_SPARKS_BINS = 32

# Optuna is asked for so many at once: as many on every machine, or the trials would differ.
_BATCH = 4

Fit = Callable[[Candidate], Candidate]
Rate = Callable[[Sequence[Candidate]], list[Candidate]]


@dataclass(frozen=True)
class Search:
    """A plan of candidates for one recipe.

    Parameters
    ----------
    recipe : Recipe
    estimator : Estimator
    points : tuple of mapping
        Hyper-parameters of each candidate; empty when Optuna chooses.
    trials : int
        How many candidates Optuna chooses.
    seed : int
    """

    recipe: Recipe
    estimator: Estimator
    points: tuple[Mapping[str, Any], ...]
    trials: int
    seed: int

    @classmethod
    def plan(
        cls,
        recipe: Recipe,
        estimator: str | None,
        grid: Mapping[str, Sequence[Any]] | None,
        trials: int | None,
        seed: int,
    ) -> Search:
        """Choose the estimator and lay out its candidates.

        Raises
        ------
        UsageError
            An estimator the recipe does not have, a grid together with trials, trials without a
            search space, or fewer than one trial.
        """
        chosen = _choose(recipe, estimator)
        if grid and trials:
            raise UsageError("--grid and --trials cannot be used together", "Choose one of them")
        if trials is None:
            return cls(recipe, chosen, tuple(_combinations(grid or chosen.sweep)), 0, seed)
        if trials < 1:
            raise UsageError(f"{trials} trials are too few", "Ask for at least one")
        if not chosen.space:
            raise UsageError(f"Recipe '{recipe.name}' has no search space for {chosen.name}", "Use --grid instead")
        return cls(recipe, chosen, (), trials, seed)

    def with_bins(self, categories: Mapping[str, int]) -> Search:
        """The search with ``maxBins`` large enough for indexed categories.

        Parameters
        ----------
        categories : mapping of str to int
            How many values each indexed feature can have; nothing changes where there are none.

        Raises
        ------
        UsageError
            The recipe, the grid or the search space names a ``maxBins`` below that.
        """
        if not categories:
            return self
        widest = max(categories, key=lambda name: categories[name])
        needed = categories[widest]
        if too_small := [value for value in self._named(_BINS) if value < needed]:
            raise UsageError(
                f"{_BINS}={min(too_small)} is too small: '{widest}' has {needed} categories, 'unknown' included",
                f"Leave {_BINS} out, or name {needed} or more",
            )
        fixed = {_BINS: max(needed, _SPARKS_BINS), **self.estimator.fixed}
        return replace(self, estimator=replace(self.estimator, fixed=fixed))

    def _named(self, parameter: str) -> list[float]:
        """The numbers that candidates may have for a hyper-parameter."""
        given = [point[parameter] for point in (self.estimator.fixed, *self.points) if parameter in point]
        if self.trials and parameter in self.estimator.space:
            given.append(self.estimator.space[parameter].low)
        # Anything else than a number is refused with its estimator's own words.
        return [value for value in given if isinstance(value, int | float)]

    @property
    def size(self) -> int:
        """How many candidates will be fitted."""
        return self.trials or len(self.points)

    @property
    def searched(self) -> tuple[str, ...]:
        """Names of the hyper-parameters that differ between candidates."""
        return tuple(self.estimator.space) if self.trials else tuple(dict.fromkeys(k for p in self.points for k in p))

    def run(self, fit: Fit, rate: Rate) -> list[Candidate]:
        """Fit every candidate, side by side as far as that helps; those that Optuna chose are rated too."""
        # One fit of a small table keeps one core busy; more threads than cores only add memory.
        parallel = min(self.size, max(1, os.cpu_count() or 1), 8)
        if not self.trials:
            return side_by_side(fit, [self._candidate(point) for point in self.points], parallel)
        return self._ask_optuna(lambda batch: rate(side_by_side(fit, batch, parallel)))

    def ranked(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Best first by the recipe's metric on the holdout; equals stay in order."""
        sign = -1 if self.recipe.higher_is_better else 1
        return sorted(candidates, key=lambda item: sign * self._value(item))

    def _value(self, candidate: Candidate) -> float:
        return candidate.parts[HOLDOUT].metrics[self.recipe.chosen_metric]

    def _candidate(self, point: Mapping[str, Any]) -> Candidate:
        return Candidate(self.estimator.name, self.recipe.task, {**self.estimator.fixed, **point})

    def _ask_optuna(self, fit_and_rate: Callable[[Sequence[Candidate]], list[Candidate]]) -> list[Candidate]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            direction="maximize" if self.recipe.higher_is_better else "minimize",
            sampler=optuna.samplers.TPESampler(seed=self.seed),
        )
        found: list[Candidate] = []
        while len(found) < self.trials:
            asked = [study.ask() for _ in range(min(_BATCH, self.trials - len(found)))]
            spaces = self.estimator.space.items()
            points = [{name: _suggest(trial, name, space) for name, space in spaces} for trial in asked]
            rated = fit_and_rate([self._candidate(point) for point in points])
            for trial, candidate in zip(asked, rated, strict=True):
                study.tell(trial, self._value(candidate))
            found += rated
        return found


def _choose(recipe: Recipe, name: str | None) -> Estimator:
    if name is None:
        return recipe.estimators[0]
    by_name = {estimator.name: estimator for estimator in recipe.estimators}
    if name not in by_name:
        raise UsageError(f"Recipe '{recipe.name}' has no estimator '{name}'", did_you_mean(name, by_name))
    return by_name[name]


def _combinations(values: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for combination in itertools.product(*values.values()):
        yield dict(zip(values, combination, strict=True))


def _suggest(trial: Any, name: str, space: Range) -> float | int:
    if space.whole:
        return int(trial.suggest_int(name, int(space.low), int(space.high), log=space.log))
    return float(trial.suggest_float(name, space.low, space.high, log=space.log))
