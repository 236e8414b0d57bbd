"""The metrics that recipes may decide by: all that is so of each stands here once.

What a row adds to a metric is arithmetic that columns of an engine do as numbers do, so it serves every engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from types import MappingProxyType
from typing import Any, Literal

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class Row:
    """What metrics may read of one row, as numbers or as an engine's columns.

    Parameters
    ----------
    score : number
        The probability of label 1, or the predicted number.
    label : number
        0 or 1, or the number to predict.
    functions : object
        ``abs``, ``log`` and ``log1p`` for such operands.
    clipped : number, optional
        The score, kept an epsilon away from 0 and 1. For a classification alone, as the others.
    positives_above, negatives_above : number, optional
        Rows of each label that score at least as high, ties and the row itself included.
    """

    score: Any
    label: Any
    functions: Any
    clipped: Any = None
    positives_above: Any = None
    negatives_above: Any = None

    @property
    def error(self) -> Any:
        """How far the score is above the label."""
        return self.score - self.label

    @property
    def negative(self) -> Any:
        """1 where the label is 0."""
        return 1 - self.label


@dataclass(frozen=True)
class Totals:
    """Sums over the rows of one part of the data.

    Parameters
    ----------
    rows, positives : float
        Rows, and those of them with label 1.
    sums : mapping of str to float
        By the names of `SUMS`.
    calibration : sequence of (mean predicted, mean observed, rows)
        By bin of the score; empty for a regression.
    variance : float
        Of the label.
    """

    rows: float
    sums: Mapping[str, float]
    positives: float = nan
    calibration: Sequence[tuple[float, float, float]] = ()
    variance: float = nan

    @property
    def negatives(self) -> float:
        """Rows with label 0."""
        return self.rows - self.positives


SUMS: Mapping[Task, Mapping[str, Callable[[Row], Any]]] = MappingProxyType(
    {
        "classification": {
            # Of all pairs of different labels: those in order, and those in the wrong one; both contain the tied ones.
            "in_order": lambda row: row.negative * row.positives_above,
            "out_of_order": lambda row: row.label * row.negatives_above,
            "precision": lambda row: row.label * row.positives_above / (row.positives_above + row.negatives_above),
            "log_loss": lambda row: (
                -row.label * row.functions.log(row.clipped) - row.negative * row.functions.log1p(-row.clipped)
            ),
            "squared_error": lambda row: row.error * row.error,
        },
        "regression": {
            "squared_error": lambda row: row.error * row.error,
            "absolute_error": lambda row: row.functions.abs(row.error),
        },
    }
)
"""What is summed over rows: a name, and what one row adds."""


@dataclass(frozen=True)
class Metric:
    """One metric.

    Parameters
    ----------
    higher_is_better : bool
    value : callable
        From `Totals`; NaN where it is not defined.
    """

    higher_is_better: bool
    value: Callable[[Totals], float]


def _roc_auc(totals: Totals) -> float:
    pairs = totals.positives * totals.negatives
    return (1 + share(totals.sums["in_order"], pairs) - share(totals.sums["out_of_order"], pairs)) / 2


def _pr_auc(totals: Totals) -> float:
    return share(totals.sums["precision"], totals.positives if totals.negatives else 0)


def _calibration_error(totals: Totals) -> float:
    return sum(abs(mean - seen) * rows for mean, seen, rows in totals.calibration) / totals.rows


def _r2(totals: Totals) -> float:
    return 1 - share(totals.sums["squared_error"] / totals.rows, totals.variance)


def share(part: float, whole: float) -> float:
    """A part of a whole; NaN of nothing."""
    return part / whole if whole else nan


METRICS: Mapping[Task, Mapping[str, Metric]] = MappingProxyType(
    {
        "classification": {
            "roc_auc": Metric(True, _roc_auc),
            "pr_auc": Metric(True, _pr_auc),
            "log_loss": Metric(False, lambda totals: totals.sums["log_loss"] / totals.rows),
            "brier": Metric(False, lambda totals: totals.sums["squared_error"] / totals.rows),
            "calibration_error": Metric(False, _calibration_error),
        },
        "regression": {
            "rmse": Metric(False, lambda totals: sqrt(totals.sums["squared_error"] / totals.rows)),
            "mae": Metric(False, lambda totals: totals.sums["absolute_error"] / totals.rows),
            "r2": Metric(True, _r2),
        },
    }
)
"""By task; the first of a task decides unless the recipe says otherwise."""


def compute_metrics(task: Task, totals: Totals) -> dict[str, float]:
    """All metrics of a task from the sums over its rows."""
    return {name: float(metric.value(totals)) for name, metric in METRICS[task].items()}


def skill(metrics: Mapping[str, float]) -> float:
    """How much a model knows: 0 for guessing, 1 for knowing.

    Parameters
    ----------
    metrics : mapping of str to float
        Of a classification or a regression.

    Returns
    -------
    float
        2·AUC - 1, or R2.
    """
    return 2 * metrics["roc_auc"] - 1 if "roc_auc" in metrics else metrics["r2"]
