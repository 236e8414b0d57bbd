"""The figures that are promised for trees, on real trips: with the sweeps that come with Taxiway, and nothing tuned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from taxiway.evaluation import HOLDOUT, PART, SCORES, evaluate
from taxiway.features import LABEL, feature_column
from taxiway.pipeline import assemble, build_estimator, score_column
from taxiway.preparation import Table, split_months
from taxiway.recipes import RECIPES, compile_recipe
from taxiway.search import Candidate, Search
from taxiway.settings import load_settings
from taxiway.training import judge
from taxiway.trips.source import fetch

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TRAINED, HELD_OUT = "yellow:2018-01..2018-10", "yellow:2018-11..2018-12"
# Minutes: what the mean duration of all training trips gives on these holdout months.
KNOWING_NOTHING = 12.2
Best = Callable[[str, str], tuple[Candidate, Table]]


@pytest.fixture
def best_of(spark: SparkSession, real_trips: Path, tmp_path: Path) -> Best:
    """The best candidate of an estimator's own sweep, as `train` finds it, without records and audit."""

    def sweep(recipe: str, estimator: str) -> tuple[Candidate, Table]:
        compiled = compile_recipe(RECIPES[recipe])
        split = split_months(compiled.recipe, TRAINED, HELD_OUT)
        settings = load_settings({"home": tmp_path, "trips_source": real_trips}, {}, tmp_path)
        table = Table.prepare(spark, compiled, split, fetch([*split.train, *split.holdout], settings), estimator)

        def fit(candidate: Candidate) -> Candidate:
            unfitted = build_estimator(candidate.estimator, candidate.task, candidate.params)
            return candidate.fitted(unfitted.fit(table.fitting), 0.0, 0.0)

        search = Search.plan(compiled.recipe, estimator, None, None, seed=0).with_bins(table.categories)
        found = judge(compiled.recipe, table, search.run(fit, list), parts=(HOLDOUT,))
        return search.ranked(found)[0], table

    return sweep


def test_boosted_trees_predict_minutes_also_where_no_zone_is_told(best_of: Best) -> None:
    from pyspark.sql import functions as F

    best, table = best_of("duration", "gradient_boosted_trees")
    assert best.metrics["holdout_rmse"] <= 7.4

    held = table.columns.where(F.col(PART) == HOLDOUT)
    told_nothing = held.withColumn(feature_column("dropoff_zone_id"), F.lit(None).cast("string"))
    answered = assemble([*table.pipeline.stages[1:], best.model]).transform(told_nothing)
    scored = answered.select(PART, LABEL, F.array(score_column(RECIPES["duration"])).alias(SCORES))
    found = evaluate(scored, "regression", 1, {HOLDOUT: table.rows[HOLDOUT]})[HOLDOUT, 0]
    assert found.metrics["rmse"] < KNOWING_NOTHING - 0.5


@pytest.mark.parametrize(("estimator", "least"), [("gradient_boosted_trees", 0.69), ("random_forest", 0.70)])
def test_trees_tell_who_tips_by_card(best_of: Best, estimator: str, least: float) -> None:
    best, _ = best_of("card-tip", estimator)
    assert best.metrics["holdout_roc_auc"] >= least
