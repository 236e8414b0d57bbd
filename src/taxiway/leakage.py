"""The leakage audit: how far each feature gets alone, and how far the model gets without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taxiway.evaluation import HOLDOUT, PART, SCORES, TRAIN, Evaluation, evaluate, evaluate_counts
from taxiway.features import LABEL, feature_column
from taxiway.parallel import meanwhile, side_by_side
from taxiway.pipeline import FEATURES
from taxiway.recipes import Recipe
from taxiway.recipes.estimators import ESTIMATORS
from taxiway.recipes.metrics import skill

if TYPE_CHECKING:
    from pyspark.ml.base import Estimator
    from pyspark.sql import Column, DataFrame, Row

NUMERIC_BINS = 20
SAMPLE_ROWS = 20_000
"""Rows of each part that the refits without a feature see; a leak shows in far fewer."""

# Skill is 2·AUC-1 or R2: 0 for guessing, 1 for knowing. What follows is a judgement, set so that
# payment type stands out in the exercise and no honest feature of the other recipes does.
_WORTH_ASKING = 0.3
_ALONE = 0.6
_CARRIED = 0.6


@dataclass(frozen=True)
class FeatureAudit:
    """What one feature means to a model.

    Parameters
    ----------
    feature : str
        Its name in the recipe.
    alone : float
        The recipe's metric on the holdout months when every row is given the mean label that
        training rows of the same category (or the same twentieth of a number) had.
    without : float
        The recipe's metric of the best candidate, fitted again without this feature on a sample
        of the training months and judged on a sample of the holdout months.
    flagged : bool
        Whether the feature carries the model by itself, as a leak would.
    """

    feature: str
    alone: float
    without: float
    flagged: bool


@dataclass(frozen=True)
class AuditData:
    """What the audit looks at; the frames are cached by the caller.

    Parameters
    ----------
    columns : DataFrame
        ``part``, ``label`` and the computed feature columns of every usable row.
    vectors : mapping of str to DataFrame
        ``part``, ``label`` and the assembled ``features`` of the same rows, by part; of the training part, as
        estimators are fitted to them.
    slots : sequence of (feature, slot)
        What each slot of the vector holds.
    rows : mapping of str to int
        Rows in each part.
    """

    columns: DataFrame
    vectors: Mapping[str, DataFrame]
    slots: Sequence[tuple[str, str]]
    rows: Mapping[str, int]


def audit(
    recipe: Recipe, data: AuditData, best: Estimator[Any], score: Column, parallel: int = 4
) -> tuple[FeatureAudit, ...]:
    """Audit every feature of a recipe.

    Parameters
    ----------
    recipe : Recipe
    data : AuditData
    best : Estimator
        The best candidate, unfitted; `coarse` makes its refits quick.
    score : Column
        Reads the score from a fitted candidate's output.
    parallel : int
        Refits at once.

    Returns
    -------
    tuple of FeatureAudit
        In the recipe's order.
    """
    names = recipe.inputs
    with meanwhile(lambda: _alone(recipe, data)) as judging:
        without = _without(recipe, data, best, score, parallel)
    alone = judging.result()
    reference = without[len(names)]
    return tuple(
        FeatureAudit(
            feature=name,
            alone=alone[index].metrics[recipe.chosen_metric],
            without=without[index].metrics[recipe.chosen_metric],
            flagged=is_flagged(*(skill(each.metrics) for each in (alone[index], without[index], reference))),
        )
        for index, name in enumerate(names)
    )


def is_flagged(alone: float, without: float, full: float) -> bool:
    """Whether a feature carries the model by itself.

    Parameters
    ----------
    alone, without, full : float
        The skill of the feature alone, of the refit without it and of the refit with all features: 0 for guessing,
        1 for knowing.
    """
    if full < _WORTH_ASKING:
        return False
    return alone >= _ALONE or (full - without) / full >= _CARRIED


def _alone(recipe: Recipe, data: AuditData) -> list[Evaluation]:
    """Evaluations of each feature by itself: a row's score is the mean label of its bin in training."""
    from pyspark.sql import functions as F

    numeric = [feature_column(name) for name in recipe.numeric]
    cuts = _quantiles(data.columns, numeric)
    bins = [
        *(_bin(column, cuts[column]) for column in numeric),
        *(F.coalesce(F.col(feature_column(name)), F.lit("")) for name in recipe.categorical),
    ]
    binned = data.columns.select(PART, LABEL, F.array(*(column.cast("string") for column in bins)).alias("bins"))
    counts = (
        binned.select(PART, LABEL, F.posexplode("bins").alias("feature", "bin"))
        .groupBy(PART, "feature", "bin")
        .agg(F.count("*").alias("n"), F.sum(LABEL).alias("label"))
        .collect()
    )
    means = {(row["feature"], row["bin"]): row["label"] / row["n"] for row in counts if row[PART] == TRAIN}
    every = [row for row in counts if row[PART] == TRAIN and row["feature"] == 0]
    default = sum(row["label"] for row in every) / data.rows[TRAIN]
    if recipe.task == "classification":
        return [_judge_bins(index, counts, means, default) for index in range(len(bins))]
    held = binned.where(F.col(PART) == HOLDOUT)
    scores = [_mean_of_bin(index, means, default) for index in range(len(bins))]
    found = evaluate(held.select(PART, LABEL, F.array(*scores).alias(SCORES)), recipe.task, len(bins), data.rows)
    return [found[HOLDOUT, index] for index in range(len(bins))]


def _judge_bins(
    feature: int, counts: Sequence[Row], means: Mapping[tuple[int, str], float], default: float
) -> Evaluation:
    return evaluate_counts(
        (means.get((feature, row["bin"]), default), row["label"], row["n"] - row["label"])
        for row in counts
        if row[PART] == HOLDOUT and row["feature"] == feature
    )


def _mean_of_bin(feature: int, means: Mapping[tuple[int, str], float], default: float) -> Column:
    from pyspark.sql import functions as F

    pairs = [F.lit(item) for (index, label), mean in means.items() if index == feature for item in (label, mean)]
    return F.coalesce(F.try_element_at(F.create_map(*pairs), F.col("bins")[feature]), F.lit(default))


def _quantiles(columns: DataFrame, numeric: Sequence[str]) -> dict[str, list[float]]:
    from pyspark.sql import functions as F

    if not numeric:
        return {}
    at = [index / NUMERIC_BINS for index in range(1, NUMERIC_BINS)]
    found = columns.where(F.col(PART) == TRAIN).approxQuantile(list(numeric), at, 0.005)
    return {name: sorted(set(values)) for name, values in zip(numeric, found, strict=True)}


def _bin(column: str, cuts: Sequence[float]) -> Column:
    from pyspark.sql import functions as F

    value = F.col(column)
    above: Column = F.lit(0)
    for cut in cuts:
        above = above + (value > cut).cast("int")
    return F.coalesce(above, F.lit(-1))


def coarse(name: str, best: Estimator[Any]) -> Estimator[Any]:
    """An estimator that stops sooner: an audit is read for its second digit.

    Parameters
    ----------
    name : str
        As the recipe names it.
    best : Estimator
        Unfitted.
    """
    kind = ESTIMATORS[name]
    bounds = [(kind.audit_at_most, min), (kind.audit_at_least, max)]
    return best.copy(
        {
            best.getParam(name): bound(best.getOrDefault(name), value)
            for values, bound in bounds
            for name, value in values.items()
        }
    )


def _without(
    recipe: Recipe, data: AuditData, best: Estimator[Any], score: Column, parallel: int
) -> dict[int, Evaluation]:
    """Evaluations of the refits, by feature; the last one has all features."""
    from pyspark.sql import functions as F

    everything = range(len(data.slots))
    kept = [[slot for slot in everything if data.slots[slot][0] != name] for name in recipe.inputs]
    slices = [*kept, [*everything]]
    parts = {part: _sliced_sample(data, part, slices) for part in (TRAIN, HOLDOUT)}

    def refit(index: int) -> Any:
        # The same names in every refit: Spark then compiles the query once for all of them.
        return best.fit(parts[TRAIN].select(LABEL, F.col(_slice(index)).alias(FEATURES)))

    try:
        models = side_by_side(refit, range(len(slices)), parallel)
        scored = parts[HOLDOUT]
        for index, model in enumerate(models):
            reading = model.copy({model.getParam("featuresCol"): _slice(index)})
            scored = with_score(scored, reading, score, f"score_{index}")
        columns = [F.col(f"score_{index}") for index in range(len(models))]
        rows = {HOLDOUT: min(data.rows[HOLDOUT], SAMPLE_ROWS)}
        found = evaluate(scored.select(PART, LABEL, F.array(*columns).alias(SCORES)), recipe.task, len(models), rows)
        return {index: found[HOLDOUT, index] for index in range(len(models))}
    finally:
        for frame in parts.values():
            frame.unpersist()


def _sliced_sample(data: AuditData, part: str, slices: Sequence[Sequence[int]]) -> DataFrame:
    """A sample of a part, each row with one vector for each set of slots."""
    from pyspark.ml.feature import VectorSlicer
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql import functions as F

    frame: DataFrame = data.vectors[part].sample(fraction=min(1.0, SAMPLE_ROWS / data.rows[part]), seed=0).coalesce(1)
    for index, slots in enumerate(slices):
        if slots:
            # It keeps what the column says of its slots: that they are categories, and how many.
            frame = VectorSlicer(inputCol=FEATURES, outputCol=_slice(index), indices=list(slots)).transform(frame)
        else:
            # Without its only feature an estimator is told nothing; it needs a slot all the same.
            frame = frame.withColumn(_slice(index), array_to_vector(F.array(F.lit(0.0))))
    return frame.drop(FEATURES).cache()


def _slice(index: int) -> str:
    return f"slice_{index}"


def with_score(frame: DataFrame, model: Any, score: Column, name: str) -> DataFrame:
    """Add one candidate's score as a column, and nothing else that it produces."""
    if model.hasParam("rawPredictionCol"):
        # The probability is then computed in one step instead of by way of two more columns.
        model = model.copy({model.getParam(column): "" for column in ("rawPredictionCol", "predictionCol")})
    produced: DataFrame = model.transform(frame)
    return produced.select(*frame.columns, score.alias(name))
