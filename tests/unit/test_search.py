"""The plan of a search: how many bins trees get for indexed categories, and what Optuna is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from taxiway.errors import UsageError
from taxiway.evaluation import HOLDOUT, Evaluation
from taxiway.recipes import RECIPES, Range
from taxiway.search import Candidate, Search

SIZES = {"pickup_hour": 25, "pickup_zone_id": 206, "dropoff_zone_id": 247}


def plan(grid: dict[str, Any] | None = None, trials: int | None = None, **estimator: Any) -> Search:
    """A search of boosted trees for `duration`, with some of the estimator's declaration replaced."""
    search = Search.plan(RECIPES["duration"], "gradient_boosted_trees", grid, trials, seed=0)
    return replace(search, estimator=replace(search.estimator, **estimator))


@pytest.mark.parametrize(
    ("sizes", "expected"), [(SIZES, 247), ({"pickup_hour": 25}, 32)], ids=["zones", "never below Spark's own"]
)
def test_bins_hold_the_feature_with_most_categories(sizes: dict[str, int], expected: int) -> None:
    assert plan().with_bins(sizes).estimator.fixed["maxBins"] == expected


def test_without_indexed_categories_nothing_is_set() -> None:
    search = plan()
    assert search.with_bins({}) is search


def test_bins_that_suffice_are_left_as_they_were_named() -> None:
    search = plan(grid={"maxBins": [247, 300]}).with_bins(SIZES)
    assert [point["maxBins"] for point in search.points] == [247, 300]
    assert plan(fixed={"maxBins": 256}).with_bins(SIZES).estimator.fixed == {"maxBins": 256}


@pytest.mark.parametrize(
    "search",
    [
        plan(grid={"maxBins": [300, 246]}),
        plan(fixed={"maxBins": 246}),
        plan(trials=3, space={"maxBins": Range(246, 500)}),
    ],
    ids=["the grid", "the recipe", "the search space"],
)
def test_too_few_bins_are_one_line_that_says_how_many(search: Search) -> None:
    with pytest.raises(UsageError) as refused:
        search.with_bins(SIZES)
    assert str(refused.value) == (
        "maxBins=246 is too small: 'dropoff_zone_id' has 247 categories, 'unknown' included. "
        "Leave maxBins out, or name 247 or more"
    )


def test_bins_that_are_no_number_are_left_to_the_estimator_s_own_words() -> None:
    assert plan(grid={"maxBins": ["many"]}).with_bins(SIZES).points == ({"maxBins": "many"},)


# Optuna


def fit(candidate: Candidate) -> Candidate:
    return candidate.fitted("a model", 0.0, 0.0)


def rate(candidates: Sequence[Candidate]) -> list[Candidate]:
    """A metric that is best in the middle of the search space."""
    return [
        item.judged({HOLDOUT: Evaluation({"rmse": abs(item.params["maxDepth"] - 4) + item.params["stepSize"]}, rows=1)})
        for item in candidates
    ]


@pytest.mark.parametrize("cores", [1, 2, 16, None])
def test_the_same_trials_are_proposed_on_any_number_of_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int | None
) -> None:
    reference = [item.params for item in plan(trials=11).run(fit, rate)]
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert [item.params for item in plan(trials=11).run(fit, rate)] == reference
    assert len({str(params) for params in reference}) == 11


def test_what_a_trial_was_rated_by_is_kept_and_computed_once() -> None:
    asked: list[int] = []

    def count(candidates: Sequence[Candidate]) -> list[Candidate]:
        asked.append(len(candidates))
        return rate(candidates)

    found = plan(trials=6).run(fit, count)
    assert sum(asked) == len(found) == 6
    assert all(HOLDOUT in item.parts for item in found)


def test_a_grid_is_not_rated_while_it_is_fitted() -> None:
    def refuse(candidates: Sequence[Candidate]) -> list[Candidate]:
        raise AssertionError(candidates)

    assert [item.parts for item in plan(grid={"maxDepth": [2, 3]}).run(fit, refuse)] == [{}, {}]
