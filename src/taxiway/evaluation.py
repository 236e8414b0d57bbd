"""Metrics, curves and calibration of many candidates in one pass, exact to the last tie.

No score leaves Spark: what reaches Python are sums, a hundred or so points of each curve and a
histogram.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log, log1p, nan, sqrt
from typing import TYPE_CHECKING, Any

from taxiway.features import LABEL

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

SCORES = "scores"
PART = "part"
TRAIN, HOLDOUT = "train", "holdout"
CALIBRATION_BINS = 10
_PREDICTION_BINS = 40
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
        (in the label's unit) and ``r2``. NaN where a metric is not defined: the areas without
        labels of both classes, r2 of a label that never varies.
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


def evaluate(
    scored: DataFrame, task: str, candidates: int, rows: Mapping[str, int]
) -> dict[tuple[str, int], Evaluation]:
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


def evaluate_counts(counts: Iterable[tuple[float, float, float]]) -> Evaluation:
    """Evaluate a classifier that knows only few different scores.

    Parameters
    ----------
    counts : iterable of (score, positives, negatives)
        How many rows of each label have a score.

    Returns
    -------
    Evaluation
    """
    by_score: dict[float, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for score, positives, negatives in counts:
        by_score[score][0] += positives
        by_score[score][1] += negatives
    groups = []
    tp = fp = 0.0
    for score, (positives, negatives) in sorted(by_score.items(), reverse=True):
        tp, fp, n = tp + positives, fp + negatives, positives + negatives
        clipped = max(min(score, 1 - _EPSILON), _EPSILON)
        groups.append(
            {
                "bin": min(int(score * _HISTOGRAM_BINS), _HISTOGRAM_BINS - 1),
                "positives": positives,
                "negatives": negatives,
                "positives_so_far": tp,
                "negatives_so_far": fp,
                "score": score * n,
                "positive_not_below": negatives * tp,
                "negative_not_below": positives * fp,
                "precision": positives * tp / (tp + fp),
                "log_loss": -positives * log(clipped) - negatives * log1p(-clipped),
                "brier": positives * (1 - score) ** 2 + negatives * score**2,
            }
        )
    return _classifier(groups)


def _evaluate_classifiers(scored: DataFrame, rows: Mapping[str, int]) -> dict[tuple[str, int], Evaluation]:
    groups: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for row in _classification_sums(scored, rows).collect():
        groups[row[PART], row["candidate"]].append(row)
    return {
        key: _classifier(sorted(found, key=lambda row: row["positives_so_far"] + row["negatives_so_far"]))
        for key, found in groups.items()
    }


def _classification_sums(scored: DataFrame, rows: Mapping[str, int]) -> DataFrame:
    """Sums by candidate, slice of the curve and bin of the score, from one sort of the scores.

    Every row is told how many positives and rows score at least as high as it does. Equal
    scores so share one threshold, as average precision asks, and `_classifier` counts a tied
    pair as half, as the area under the ROC curve asks.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    at_least = (
        Window.partitionBy(PART, "candidate")
        .orderBy(F.desc("score"))
        .rangeBetween(Window.unboundedPreceding, Window.currentRow)
    )
    size = F.create_map(*(F.lit(item) for pair in rows.items() for item in pair))[F.col(PART)]
    score, positive, tp, above = F.col("score"), F.col(LABEL), F.col("tp"), F.col("above")
    negative = 1 - positive
    clipped = F.greatest(F.least(score, F.lit(1 - _EPSILON)), F.lit(_EPSILON))
    ranked = scored.select(PART, LABEL, F.posexplode(SCORES).alias("candidate", "score")).select(
        "*", F.sum(LABEL).over(at_least).alias("tp"), F.count("*").over(at_least).alias("above")
    )
    return ranked.groupBy(
        PART,
        "candidate",
        F.floor(above * _CURVE_POINTS / size).alias("slice"),
        F.least(F.floor(score * _HISTOGRAM_BINS), F.lit(_HISTOGRAM_BINS - 1)).cast("int").alias("bin"),
    ).agg(
        F.sum(positive).alias("positives"),
        F.sum(negative).alias("negatives"),
        F.max(tp).alias("positives_so_far"),
        F.max(above - tp).alias("negatives_so_far"),
        F.sum(score).alias("score"),
        F.sum(negative * tp).alias("positive_not_below"),
        F.sum(positive * (above - tp)).alias("negative_not_below"),
        F.sum(positive * tp / above).alias("precision"),
        F.sum(-positive * F.log(clipped) - negative * F.log1p(-clipped)).alias("log_loss"),
        F.sum((score - positive) * (score - positive)).alias("brier"),
    )


def _classifier(groups: Sequence[Any]) -> Evaluation:
    positives = sum(group["positives"] for group in groups)
    negatives = sum(group["negatives"] for group in groups)
    total = positives + negatives
    bins = _histogram(groups)
    calibration = _calibration(bins)
    metrics = {
        # Of all pairs: those in order, and half of the tied ones, which both sums contain.
        "roc_auc": (
            1
            + _share(sum(group["positive_not_below"] for group in groups), positives * negatives)
            - _share(sum(group["negative_not_below"] for group in groups), positives * negatives)
        )
        / 2,
        "pr_auc": _share(sum(group["precision"] for group in groups), positives if negatives else 0),
        "log_loss": sum(group["log_loss"] for group in groups) / total,
        "brier": sum(group["brier"] for group in groups) / total,
        "calibration_error": sum(abs(mean - seen) * n for mean, seen, n in calibration) / total,
    }
    points = [(group["positives_so_far"], group["negatives_so_far"]) for group in groups]
    return Evaluation(
        metrics={name: float(value) for name, value in metrics.items()},
        rows=int(total),
        roc=((0.0, 0.0), *((_share(fp, negatives), _share(tp, positives)) for tp, fp in points)),
        precision_recall=tuple((_share(tp, positives), tp / (tp + fp)) for tp, fp in points),
        calibration=calibration,
        histogram=tuple(
            (index / _HISTOGRAM_BINS, (index + 1) / _HISTOGRAM_BINS, int(bins[index][0]), int(bins[index][1]))
            for index in range(_HISTOGRAM_BINS)
        ),
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else nan


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

    def error(index: int) -> Column:
        return F.col(SCORES)[index] - F.col(LABEL)

    sums = scored.groupBy(PART).agg(
        F.count("*").alias("n"),
        F.avg(LABEL).alias("mean"),
        F.var_pop(LABEL).alias("variance"),
        *(F.min(F.col(SCORES)[index]).alias(f"low_{index}") for index in range(candidates)),
        *(F.max(F.col(SCORES)[index]).alias(f"high_{index}") for index in range(candidates)),
        *(F.avg(error(index) * error(index)).alias(f"squared_{index}") for index in range(candidates)),
        *(F.avg(F.abs(error(index))).alias(f"absolute_{index}") for index in range(candidates)),
    )
    found = sums.collect()
    points = _regression_points(
        scored,
        [
            (min(row[f"low_{index}"] for row in found), max(row[f"high_{index}"] for row in found))
            for index in range(candidates)
        ],
    )
    return {
        (row[PART], index): Evaluation(
            metrics={
                "rmse": sqrt(row[f"squared_{index}"]),
                "mae": row[f"absolute_{index}"],
                "r2": 1 - row[f"squared_{index}"] / row["variance"] if row["variance"] else nan,
            },
            rows=row["n"],
            calibration=tuple(points[row[PART], index]),
        )
        for row in found
        for index in range(candidates)
    }


def _regression_points(
    scored: DataFrame, bounds: Sequence[tuple[float, float]]
) -> dict[tuple[str, int], list[tuple[float, float, int]]]:
    """Mean prediction and mean label by bins of equal width between a candidate's bounds."""
    from pyspark.sql import functions as F

    points: dict[tuple[str, int], list[tuple[float, float, int]]] = defaultdict(list)
    exploded = scored.select(PART, LABEL, F.posexplode(SCORES).alias("candidate", "score"))
    lows = F.array(*(F.lit(low) for low, _ in bounds))[F.col("candidate")]
    widths = F.array(*(F.lit((high - low) / _PREDICTION_BINS or 1.0) for low, high in bounds))[F.col("candidate")]
    bins = F.floor(F.least((F.col("score") - lows) / widths, F.lit(_PREDICTION_BINS - 1)))
    grouped = (
        exploded.groupBy(PART, "candidate", bins.alias("bin"))
        .agg(F.avg("score").alias("predicted"), F.avg(LABEL).alias("seen"), F.count("*").alias("n"))
        .orderBy("bin")
    )
    for row in grouped.collect():
        points[row[PART], row["candidate"]].append((row["predicted"], row["seen"], row["n"]))
    return points
