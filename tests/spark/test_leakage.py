"""The leakage audit on real trips: it flags the payment type in `tip` and nothing in `card-tip`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from taxiway.recipes import RECIPES
from taxiway.settings import load_settings
from taxiway.training import Training, train

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TRAIN, HOLDOUT = "yellow:2018-01..2018-03", "yellow:2018-04"


@pytest.fixture(scope="module")
def trained(
    _shared_spark: SparkSession, real_trips: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Training]:
    home = tmp_path_factory.mktemp("leakage")
    settings = load_settings({"home": home, "trips_source": real_trips}, {}, home)
    one = {"regParam": [0.001]}
    return {recipe: train(recipe, TRAIN, HOLDOUT, grid=one, settings=settings) for recipe in ("tip", "card-tip")}


@pytest.mark.parametrize("recipe", ["tip", "card-tip"])
def test_every_feature_is_audited_in_the_recipe_s_order(trained: dict[str, Training], recipe: str) -> None:
    assert tuple(item.feature for item in trained[recipe].leakage) == RECIPES[recipe].inputs
    assert all(0 < item.alone < 1 and 0 < item.without < 1 for item in trained[recipe].leakage)


def test_the_payment_type_carries_the_exercise_and_is_flagged(trained: dict[str, Training]) -> None:
    flagged = [item for item in trained["tip"].leakage if item.flagged]
    assert [item.feature for item in flagged] == ["payment_type"]
    # The same question asked of 18 months: 0.959 with the payment type alone, 0.555 without it.
    assert flagged[0].alone > 0.93
    assert flagged[0].without < 0.62
    assert trained["tip"].best.metrics["holdout_roc_auc"] > 0.93


def test_nothing_is_flagged_in_the_honest_question(trained: dict[str, Training]) -> None:
    assert [item.feature for item in trained["card-tip"].leakage if item.flagged] == []
    assert 0.55 < trained["card-tip"].best.metrics["holdout_roc_auc"] < 0.75


def test_nothing_alone_or_left_out_moves_the_honest_question_far(trained: dict[str, Training]) -> None:
    full = trained["card-tip"].best.metrics["holdout_roc_auc"]
    assert all(item.alone < full + 0.02 and abs(item.without - full) < 0.1 for item in trained["card-tip"].leakage)
