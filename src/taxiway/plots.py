"""Pictures of an evaluation, drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from taxiway.evaluation import HOLDOUT, TRAIN, Evaluation
from taxiway.recipes import Recipe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from taxiway.trips.quality import MonthSummary

_COLOURS = {TRAIN: "#9aa5b1", HOLDOUT: "#d97706"}
_BLUE, _ORANGE = "#2563eb", "#d97706"
_MOST_BARS = 30
_Corner = Literal["lower left", "lower right", "upper center", "upper left"]


def draw_evaluation(recipe: Recipe, parts: Mapping[str, Evaluation]) -> Figure:
    """Draw one candidate: curves, calibration and distribution of scores.

    Parameters
    ----------
    recipe : Recipe
    parts : mapping of str to Evaluation
        ``train`` and ``holdout``.

    Returns
    -------
    Figure
        Four panels for a classification: ROC, precision and recall, calibration, scores by
        label. One for a regression: mean label by prediction.
    """
    if recipe.task == "regression":
        figure = _figure(6, 4.5)
        _draw_regression(figure.subplots(), recipe, parts)
        return figure
    figure = _figure(10, 8, layout=None)
    axes = figure.subplots(2, 2)
    # Set by hand, since a layout that measures itself doubles the time of each candidate's picture.
    figure.subplots_adjust(left=0.07, right=0.98, top=0.95, bottom=0.07, hspace=0.3, wspace=0.2)
    _draw_roc(axes[0][0], parts)
    _draw_precision_recall(axes[0][1], parts)
    _draw_calibration(axes[1][0], parts)
    _draw_scores(axes[1][1], parts[HOLDOUT])
    return figure


def draw_weights(title: str, weights: Sequence[tuple[str, float]]) -> Figure:
    """Draw the coefficients or importances that weigh most, by name.

    Parameters
    ----------
    title : str
        What the numbers are.
    weights : sequence of (name, value)
        The thirty largest in absolute value are shown.
    """
    largest = sorted(weights, key=lambda item: abs(item[1]), reverse=True)[:_MOST_BARS]
    largest.reverse()
    figure = _figure(8, 1.2 + 0.24 * len(largest))
    axes = figure.subplots()
    names = [name for name, _ in largest]
    values = [value for _, value in largest]
    axes.barh(names, values, color=[_BLUE if value >= 0 else _ORANGE for value in values])
    axes.axvline(0, color="#444444", linewidth=0.8)
    axes.set_title(title, loc="left")
    axes.tick_params(axis="y", labelsize=8)
    return figure


def draw_trips(summaries: Sequence[MonthSummary]) -> Figure:
    """Draw when and how far people ride: trips by weekday and hour, and by miles."""
    figure = _figure(11, 4)
    left, right = figure.subplots(1, 2)
    hours = [[sum(s.pickups[day][hour] for s in summaries) for hour in range(24)] for day in range(7)]
    image = left.imshow(hours, aspect="auto", cmap="YlOrRd")
    left.set_yticks(range(7), ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])
    left.set_xlabel("hour of pick-up, New York time")
    left.set_title("When people ride", loc="left")
    figure.colorbar(image, ax=left, label="valid trips")
    miles = [sum(s.distances[mile] for s in summaries) for mile in range(len(summaries[0].distances))]
    right.bar(range(len(miles)), miles, width=0.9, color=_BLUE, align="edge")
    right.set_xlabel(f"miles (the last bar: {len(miles) - 1} and more)")
    right.set_ylabel("valid trips")
    right.set_title("How far they ride", loc="left")
    return figure


def _figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    from matplotlib.figure import Figure

    # No pyplot: a Figure of its own needs no display and no global state.
    return Figure(figsize=(width, height), dpi=90, layout=layout)


def _draw_roc(axes: Axes, parts: Mapping[str, Evaluation]) -> None:
    for part, evaluation in parts.items():
        label = f"{part}: {evaluation.metrics['roc_auc']:.4f}"
        axes.plot(*zip(*evaluation.roc, strict=True), color=_COLOURS[part], label=label)
    axes.plot([0, 1], [0, 1], color="#cccccc", linestyle="--", linewidth=0.8)
    _finish(axes, "ROC", "false positive rate", "true positive rate", legend="lower right")


def _draw_precision_recall(axes: Axes, parts: Mapping[str, Evaluation]) -> None:
    for part, evaluation in parts.items():
        label = f"{part}: {evaluation.metrics['pr_auc']:.4f}"
        axes.plot(*zip(*evaluation.precision_recall, strict=True), color=_COLOURS[part], label=label)
    axes.set_ylim(0, 1.02)
    _finish(axes, "Precision and recall", "recall", "precision", legend="lower left")


def _draw_calibration(axes: Axes, parts: Mapping[str, Evaluation]) -> None:
    for part, evaluation in parts.items():
        predicted, seen, rows = zip(*evaluation.calibration, strict=True)
        label = f"{part}: error {evaluation.metrics['calibration_error']:.4f}"
        # A point that few rows stand behind is a small one.
        axes.scatter(predicted, seen, s=_sizes(rows), color=_COLOURS[part], label=label, alpha=0.8)
    axes.plot([0, 1], [0, 1], color="#cccccc", linestyle="--", linewidth=0.8)
    _finish(axes, "Calibration", "mean predicted probability", "share of label 1", legend="upper left")


def _draw_scores(axes: Axes, evaluation: Evaluation) -> None:
    edges = [low for low, _, _, _ in evaluation.histogram] + [evaluation.histogram[-1][1]]
    for index, label, colour in ((2, "label 0", _ORANGE), (3, "label 1", _BLUE)):
        counts = [row[index] for row in evaluation.histogram]
        axes.stairs(counts, edges, fill=True, color=colour, alpha=0.6, label=label)
    axes.set_yscale("symlog")
    _finish(axes, "Scores on the holdout months", "predicted probability", "rows", legend="upper center")


def _draw_regression(axes: Axes, recipe: Recipe, parts: Mapping[str, Evaluation]) -> None:
    unit = f" ({recipe.unit})" if recipe.unit else ""
    for part, evaluation in parts.items():
        predicted, seen, rows = zip(*evaluation.calibration, strict=True)
        label = f"{part}: RMSE {evaluation.metrics['rmse']:.3f}, R2 {evaluation.metrics['r2']:.3f}"
        axes.scatter(predicted, seen, s=_sizes(rows), color=_COLOURS[part], label=label, alpha=0.8)
    axes.axline((0, 0), slope=1, color="#cccccc", linestyle="--", linewidth=0.8)
    _finish(axes, "Mean label by prediction", f"predicted{unit}", f"observed{unit}", legend="upper left")


def _sizes(rows: Sequence[int]) -> list[float]:
    return [4 + 60 * count / max(rows) for count in rows]


def _finish(axes: Axes, title: str, x: str, y: str, legend: _Corner) -> None:
    axes.set_title(title, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    # A fixed place: looking for the best one takes longer than all the rest of the picture.
    axes.legend(loc=legend, fontsize=8, frameon=False)
