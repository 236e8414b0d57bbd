"""Metrics, curves and calibration of many candidates in one pass, exact to the last tie.

No score leaves Spark: what reaches Python are sums, a hundred or so points of each curve and a
histogram.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log, log1p
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from taxiway.features import LABEL
from taxiway.recipes.metrics import SUMS, Row, Totals, compute_metrics, share

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SCORES = "scores"
PART = "part"
TRAIN, HOLDOUT = "train", "holdout"
CALIBRATION_BINS = 10
_PREDICTION_BINS = 40
_HISTOGRAM_BINS = 50  # a multiple of the calibration bins
_CURVE_POINTS = 200
# What scikit-learn clips probabilities at in log loss: the epsilon of a double.
_EPSILON = 2.220446049250313e-16
_NUMBERS = SimpleNamespace(abs=abs, log=log, log1p=log1p)


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
        tp, fp = tp + positives, fp + negatives
        clipped = max(min(score, 1 - _EPSILON), _EPSILON)
        rows = {label: Row(score, label, _NUMBERS, clipped, tp, fp) for label in (0, 1)}
        groups.append(
            {
                "bin": min(int(score * _HISTOGRAM_BINS), _HISTOGRAM_BINS - 1),
                "positives": positives,
                "negatives": negatives,
                "positives_so_far": tp,
                "negatives_so_far": fp,
                "score": score * (positives + negatives),
                **{
                    name: positives * adds(rows[1]) + negatives * adds(rows[0])
                    for name, adds in SUMS["classification"].items()
                },
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
    score, tp, above = F.col("score"), F.col("tp"), F.col("above")
    clipped = F.greatest(F.least(score, F.lit(1 - _EPSILON)), F.lit(_EPSILON))
    row = Row(score, F.col(LABEL), F, clipped, tp, above - tp)
    ranked = scored.select(PART, LABEL, F.posexplode(SCORES).alias("candidate", "score")).select(
        "*", F.sum(LABEL).over(at_least).alias("tp"), F.count("*").over(at_least).alias("above")
    )
    return ranked.groupBy(
        PART,
        "candidate",
        F.floor(above * _CURVE_POINTS / size).alias("slice"),
        F.least(F.floor(score * _HISTOGRAM_BINS), F.lit(_HISTOGRAM_BINS - 1)).cast("int").alias("bin"),
    ).agg(
        F.sum(LABEL).alias("positives"),
        F.sum(1 - row.label).alias("negatives"),
        F.max(tp).alias("positives_so_far"),
        F.max(row.negatives_above).alias("negatives_so_far"),
        F.sum(score).alias("score"),
        *(F.sum(adds(row)).alias(name) for name, adds in SUMS["classification"].items()),
    )


def _classifier(groups: Sequence[Any]) -> Evaluation:
    positives = sum(group["positives"] for group in groups)
    negatives = sum(group["negatives"] for group in groups)
    total = positives + negatives
    bins = _histogram(groups)
    calibration = _calibration(bins)
    sums = {name: sum(group[name] for group in groups) for name in SUMS["classification"]}
    points = [(group["positives_so_far"], group["negatives_so_far"]) for group in groups]
    return Evaluation(
        metrics=compute_metrics("classification", Totals(total, sums, positives, calibration)),
        rows=int(total),
        roc=((0.0, 0.0), *((share(fp, negatives), share(tp, positives)) for tp, fp in points)),
        precision_recall=tuple((share(tp, positives), tp / (tp + fp)) for tp, fp in points),
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

    adding = SUMS["regression"].items()
    rows = [Row(F.col(SCORES)[index], F.col(LABEL), F) for index in range(candidates)]
    sums = scored.groupBy(PART).agg(
        F.count("*").alias("n"),
        F.var_pop(LABEL).alias("variance"),
        *(F.min(row.score).alias(f"low_{index}") for index, row in enumerate(rows)),
        *(F.max(row.score).alias(f"high_{index}") for index, row in enumerate(rows)),
        *(F.sum(adds(row)).alias(f"{name}_{index}") for index, row in enumerate(rows) for name, adds in adding),
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
            metrics=compute_metrics(
                "regression",
                Totals(row["n"], {name: row[f"{name}_{index}"] for name, _ in adding}, variance=row["variance"]),
            ),
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
