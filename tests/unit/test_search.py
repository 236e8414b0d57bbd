"""The plan of a search: how many bins trees get for indexed categories."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from taxiway.errors import UsageError
from taxiway.recipes import RECIPES, Range
from taxiway.search import Search

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
