"""Metrics, curves and calibration of many candidates in one pass, exact to the last tie.

No score leaves Spark: what reaches Python are sums, a hundred or so points of each curve and a
histogram.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING, Any

from taxiway.features import LABEL

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SCORES = "scores"
PART = "part"
TRAIN, HOLDOUT = "train", "holdout"
CALIBRATION_BINS = 10
_HISTOGRAM_BINS = 50  # a multiple of the calibration bins
_CURVE_POINTS = 200
# What scikit-learn clips probabilities at in log loss: the epsilon of a double.
_EPSILON = 2.220446049250313e-16


@dataclass(frozen=True)
class Evaluation:
    """How well one candidate does on one part of the data.

    Parameters
    ----------
    metrics : mapping of str to float
        Classification: ``roc_auc``, ``pr_auc`` (average precision), ``log_loss``, ``brier``,
        ``calibration_error`` (expected, ten bins of equal width). Regression: ``rmse``, ``mae``
        (in the label's unit) and ``r2``.
    rows : int
        Rows evaluated.
    roc : tuple of (false positive rate, true positive rate)
        Empty for a regression.
    precision_recall : tuple of (recall, precision)
        Empty for a regression.
    calibration : tuple of (mean predicted, mean observed, rows)
        By bin of the prediction.
    histogram : tuple of (low, high, negatives, positives)
        Scores by label; for a regression, predictions and labels by value.
    """

    metrics: Mapping[str, float]
    rows: int
    roc: tuple[tuple[float, float], ...] = ()
    precision_recall: tuple[tuple[float, float], ...] = ()
    calibration: tuple[tuple[float, float, int], ...] = ()
    histogram: tuple[tuple[float, float, int, int], ...] = field(default=())


def evaluate(scored: DataFrame, task: str, candidates: int, rows: Mapping[str, int]) -> dict[tuple[str, int], Evaluation]:
    """Evaluate all candidates on all parts of the data at once.

    Parameters
    ----------
    scored : DataFrame
        ``part`` (str), ``label`` (double) and ``scores``, an array with one score for each
        candidate: the probability of label 1, or the predicted number.
    task : {'classification', 'regression'}
    candidates : int
        Length of ``scores``.
    rows : mapping of str to int
        Rows in each part; curves are thinned by it.

    Returns
    -------
    dict of (part, candidate) to Evaluation
    """
    if task == "classification":
        return _evaluate_classifiers(scored, rows)
    return _evaluate_regressions(scored, candidates)


def _evaluate_classifiers(scored: DataFrame, rows: Mapping[str, int]) -> dict[tuple[str, int], Evaluation]:
    groups: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for row in _classification_sums(scored, rows).collect():
        groups[row[PART], row["candidate"]].append(row)
    return {key: _classifier(sorted(found, key=lambda row: row["positives_so_far"] + row["negatives_so_far"]))
            for key, found in groups.items()}


def _classification_sums(scored: DataFrame, rows: Mapping[str, int]) -> DataFrame:
    """Sums by candidate, slice of the curve and bin of the score.

    Equal scores are counted together first, so that ties are treated as the definitions of the
    area under the ROC curve (half a pair each) and of average precision (one threshold) ask.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    by_score = (
        scored.select(PART, LABEL, F.posexplode(SCORES).alias("candidate", "score"))
        .groupBy(PART, "candidate", "score")
        .agg(F.sum(LABEL).alias("positives"), F.count("*").alias("n"))
    )
    # Best scores first; a running sum needs no more memory than one row.
    so_far = (
        Window.partitionBy(PART, "candidate")
        .orderBy(F.desc("score"))
        .rowsBetween(Window.unboundedPreceding, Window.currentRow)
    )
    size = F.create_map(*(F.lit(item) for pair in rows.items() for item in pair))[F.col(PART)]
    clipped = F.greatest(F.least(F.col("score"), F.lit(1 - _EPSILON)), F.lit(_EPSILON))
    negatives = F.col("n") - F.col("positives")
    running = by_score.select(
        "*",
        negatives.alias("negatives"),
        F.sum("positives").over(so_far).alias("tp"),
        F.sum(negatives).over(so_far).alias("fp"),
    )
    return running.groupBy(
        PART,
        "candidate",
        F.floor((F.col("tp") + F.col("fp")) * _CURVE_POINTS / size).alias("slice"),
        F.least(F.floor(F.col("score") * _HISTOGRAM_BINS), F.lit(_HISTOGRAM_BINS - 1)).cast("int").alias("bin"),
    ).agg(
        F.sum("positives").alias("positives"),
        F.sum("negatives").alias("negatives"),
        F.max("tp").alias("positives_so_far"),
        F.max("fp").alias("negatives_so_far"),
        F.sum(F.col("score") * F.col("n")).alias("score"),
        F.sum(F.col("negatives") * (F.col("tp") - F.col("positives") / 2)).alias("pairs_in_order"),
        F.sum(F.col("positives") * F.col("tp") / (F.col("tp") + F.col("fp"))).alias("precision"),
        F.sum(-F.col("positives") * F.log(clipped) - F.col("negatives") * F.log1p(-clipped)).alias("log_loss"),
        F.sum(
            F.col("positives") * (1 - F.col("score")) * (1 - F.col("score"))
            + F.col("negatives") * F.col("score") * F.col("score")
        ).alias("brier"),
    )


def _classifier(groups: Sequence[Any]) -> Evaluation:
    positives = sum(group["positives"] for group in groups)
    negatives = sum(group["negatives"] for group in groups)
    total = positives + negatives
    bins = _histogram(groups)
    calibration = _calibration(bins)
    metrics = {
        "roc_auc": sum(group["pairs_in_order"] for group in groups) / (positives * negatives),
        "pr_auc": sum(group["precision"] for group in groups) / positives,
        "log_loss": sum(group["log_loss"] for group in groups) / total,
        "brier": sum(group["brier"] for group in groups) / total,
        "calibration_error": sum(abs(mean - seen) * n for mean, seen, n in calibration) / total,
    }
    points = [(group["positives_so_far"], group["negatives_so_far"]) for group in groups]
    return Evaluation(
        metrics={name: float(value) for name, value in metrics.items()},
        rows=int(total),
        roc=((0.0, 0.0), *((fp / negatives, tp / positives) for tp, fp in points)),
        precision_recall=tuple((tp / positives, tp / (tp + fp)) for tp, fp in points),
        calibration=calibration,
        histogram=tuple(
            (index / _HISTOGRAM_BINS, (index + 1) / _HISTOGRAM_BINS, int(bins[index][0]), int(bins[index][1]))
            for index in range(_HISTOGRAM_BINS)
        ),
    )


def _histogram(groups: Sequence[Any]) -> list[list[float]]:
    bins = [[0.0, 0.0, 0.0] for _ in range(_HISTOGRAM_BINS)]
    for group in groups:
        for index, name in enumerate(("negatives", "positives", "score")):
            bins[group["bin"]][index] += group[name]
    return bins


def _calibration(bins: Sequence[Sequence[float]]) -> tuple[tuple[float, float, int], ...]:
    step = _HISTOGRAM_BINS // CALIBRATION_BINS
    points = []
    for start in range(0, _HISTOGRAM_BINS, step):
        negatives, positives, score = (sum(column) for column in zip(*bins[start : start + step], strict=True))
        if count := negatives + positives:
            points.append((score / count, positives / count, int(count)))
    return tuple(points)


def _evaluate_regressions(scored: DataFrame, candidates: int) -> dict[tuple[str, int], Evaluation]:
    from pyspark.sql import functions as F

    def error(index: int) -> Any:
        return F.col(SCORES)[index] - F.col(LABEL)

    sums = scored.groupBy(PART).agg(
        F.count("*").alias("n"),
        F.avg(LABEL).alias("mean"),
        F.var_pop(LABEL).alias("variance"),
        *(F.avg(error(index) * error(index)).alias(f"squared_{index}") for index in range(candidates)),
        *(F.avg(F.abs(error(index))).alias(f"absolute_{index}") for index in range(candidates)),
    )
    points = _regression_points(scored, candidates)
    return {
        (row[PART], index): Evaluation(
            metrics={
                "rmse": sqrt(row[f"squared_{index}"]),
                "mae": row[f"absolute_{index}"],
                "r2": 1 - row[f"squared_{index}"] / row["variance"] if row["variance"] else float("nan"),
            },
            rows=row["n"],
            calibration=tuple(points[row[PART], index]),
        )
        for row in sums.collect()
        for index in range(candidates)
    }


def _regression_points(scored: DataFrame, candidates: int) -> dict[tuple[str, int], list[tuple[float, float, int]]]:
    """Mean prediction and mean label by whole units of the prediction."""
    from pyspark.sql import functions as F

    points: dict[tuple[str, int], list[tuple[float, float, int]]] = defaultdict(list)
    exploded = scored.select(PART, LABEL, F.posexplode(SCORES).alias("candidate", "score"))
    grouped = (
        exploded.groupBy(PART, "candidate", F.floor("score").alias("unit"))
        .agg(F.avg("score").alias("predicted"), F.avg(LABEL).alias("seen"), F.count("*").alias("n"))
        .orderBy("unit")
    )
    for row in grouped.collect():
        points[row[PART], row["candidate"]].append((row["predicted"], row["seen"], row["n"]))
    return points
