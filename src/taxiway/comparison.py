"""An experiment's runs side by side: which hyper-parameters were tried, and which run is best."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from taxiway import run_tags
from taxiway.errors import NotFound, UsageError, did_you_mean
from taxiway.names import begins_with, equals, quote
from taxiway.open_runs import FINISHED
from taxiway.settings import Settings, load_settings
from taxiway.store import connect, search_runs

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import Run

COMPARISON_FILE = "comparison.png"
_PARENT = "mlflow.parentRunId"
_COLOURS = {"train": "#9aa5b1", "holdout": "#d97706"}
_DECADES = 100


@dataclass(frozen=True)
class ComparedRun:
    """One candidate: what it was trained with and how it was judged.

    Parameters
    ----------
    run_id, name : str
    params : mapping of str to str
        As MLflow keeps them; ``estimator`` and the hyper-parameters among them.
    metrics : mapping of str to float
        ``train_…`` and ``holdout_…``.
    status : str
        MLflow's: ``FINISHED``, ``FAILED``, ``KILLED``, ``RUNNING``.
    best : bool
        Whether it is the best of the newest sweep, or of those judged on the same months.
    sweep_id : str
        The parent run; empty for a run that no sweep made.
    leakage : tuple of str
        Features that the audit flagged.
    """

    run_id: str
    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    status: str
    best: bool
    sweep_id: str = ""
    leakage: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """The candidates of one sweep, or of all sweeps of an experiment, best first.

    Parameters
    ----------
    recipe : str
        Name of the recipe, which is the experiment's.
    experiment_id : str
    parent_run_id : str
        The sweep; the newest one when all are compared.
    parent_name : str
    metric : str
        What decides, ``holdout_roc_auc``.
    higher_is_better : bool
    hyperparameters : tuple of str
        Those that differ between candidates.
    rows : tuple of ComparedRun
    status : str
        The sweep's own.
    synthetic : bool
        Whether it was trained on made-up trips.
    """

    recipe: str
    experiment_id: str
    parent_run_id: str
    parent_name: str
    metric: str
    higher_is_better: bool
    hyperparameters: tuple[str, ...]
    rows: tuple[ComparedRun, ...]
    status: str = FINISHED
    synthetic: bool = False

    @property
    def best(self) -> ComparedRun | None:
        """The best run, if one finished."""
        return next((row for row in self.rows if row.best), None)


def compare(
    recipe_name: str, settings: Settings | None = None, run: str | None = None, all_sweeps: bool = False
) -> Comparison:
    """Put a recipe's candidates side by side.

    Parameters
    ----------
    recipe_name : str
        A recipe that was trained.
    settings : Settings, optional
        Read from the environment by default.
    run : str, optional
        A sweep, or one of its candidates, by its id or how that begins; the newest sweep that
        finished by default.
    all_sweeps : bool
        Compare the candidates of every sweep. Only those that were judged by the same metric on
        the same months as the newest sweep can be the best.

    Returns
    -------
    Comparison

    Raises
    ------
    NotFound
        The recipe was never trained, or there is no such run in its experiment.
    """
    client = connect(settings or load_settings())
    experiment = find_experiment(client, recipe_name)
    newest_first = ("attributes.start_time DESC",)
    sweeps = list(search_runs(client, [experiment], equals(f"tags.`{run_tags.KIND}`", "sweep"), newest_first))
    parent = _choose_sweep(client, sweeps, run, recipe_name)
    parents = sweeps if all_sweeps else [parent]
    children = [child for one in parents for child in _candidates(client, experiment, one.info.run_id)]
    return _compare(recipe_name, parent, children, all_sweeps)


def find_experiment(client: MlflowClient, recipe_name: str) -> str:
    """The id of a recipe's experiment.

    Raises
    ------
    NotFound
        Nothing was trained under this name.
    """
    from taxiway.recipes.builtin import RECIPES

    found = client.get_experiment_by_name(recipe_name)
    if found is not None and found.lifecycle_stage == "active":
        return str(found.experiment_id)
    names = [item.name for item in client.search_experiments() if item.name != "Default"]
    is_recipe = recipe_name in RECIPES or not names
    train = f"Train it: taxiway train {quote(recipe_name)} --train …"
    remedy = train if is_recipe else did_you_mean(recipe_name, names)
    raise NotFound(f"There is no experiment '{recipe_name}'", remedy)


def find_run(client: MlflowClient, experiment: str, recipe_name: str, run: str) -> Run:
    """The run of an experiment with an id, or the only one whose id begins so.

    Raises
    ------
    NotFound
        There is none.
    UsageError
        There are several, or fewer than four characters of the id are given.
    """
    found = []
    if re.fullmatch(r"[0-9a-f]{1,3}", run):
        raise UsageError(f"'{run}' is too short for the beginning of a run's id", "Write four characters of it or more")
    if re.fullmatch(r"[0-9a-f]{4,32}", run):
        begun = search_runs(client, [experiment], begins_with("attributes.run_id", run))
        found = [item for item in begun if item.info.run_id.startswith(run)]
    if not found:
        see = f"See them: taxiway compare {quote(recipe_name)} --all"
        raise NotFound(f"There is no run '{run}' among those of '{recipe_name}'", see)
    if len(found) > 1:
        raise UsageError(f"The ids of {len(found)} runs begin with '{run}'", "Write more of it")
    return found[0]


def log_comparison(client: MlflowClient, comparison: Comparison) -> None:
    """Draw a comparison and keep it with the sweep, as ``comparison.png``."""
    client.log_figure(comparison.parent_run_id, draw_comparison(comparison), COMPARISON_FILE)


def save_comparison(comparison: Comparison, file: Path) -> None:
    """Draw a comparison into a file; its suffix says how (``.png``, ``.svg``, ``.pdf``).

    Raises
    ------
    UsageError
        Another suffix, or a folder that is not there.
    """
    try:
        draw_comparison(comparison).savefig(file)
    except (ValueError, FileNotFoundError, IsADirectoryError) as error:
        raise UsageError(f"The picture cannot be written to {file}: {error}", "Name a .png in a folder") from error


def draw_comparison(comparison: Comparison) -> Figure:
    """Draw the metric against each hyper-parameter, on training rows and on the holdout.

    Where several hyper-parameters were tried, the line follows the best run at each value and the
    points show all. The axis is logarithmic where values span two decades.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    Figure
        One panel for each pair of estimator and hyper-parameter.
    """
    from matplotlib.figure import Figure

    panels = _panels(comparison)
    columns = min(len(panels), 3)
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(max(6.0, 4.5 * columns), 1.0 + 3.4 * lines), dpi=90, layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for index, (estimator, parameter, rows) in enumerate(panels):
        _draw_panel(axes[index // columns][index % columns], comparison, estimator, parameter, rows)
    for index in range(len(panels), lines * columns):
        axes[index // columns][index % columns].set_axis_off()
    note = " (synthetic trips)" if comparison.synthetic else ""
    figure.suptitle(f"{comparison.recipe}: {comparison.metric}{note}", x=0.01, ha="left")
    return figure


def as_number(text: str) -> float | None:
    """A parameter as a finite number, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _choose_sweep(client: MlflowClient, sweeps: Sequence[Run], run: str | None, recipe_name: str) -> Run:
    if run is None:
        finished = (sweep for sweep in sweeps if sweep.info.status == FINISHED)
        chosen = next(finished, sweeps[0] if sweeps else None)
        if chosen is None:
            train = f"Train it: taxiway train {quote(recipe_name)}"
            raise NotFound(f"Nothing was trained for '{recipe_name}' yet", train)
        return chosen
    found = find_run(client, sweeps[0].info.experiment_id if sweeps else "", recipe_name, run)
    by_id = {sweep.info.run_id: sweep for sweep in sweeps}
    parent = found.info.run_id if found.info.run_id in by_id else found.data.tags.get(_PARENT, "")
    if parent not in by_id:
        raise NotFound(f"Run '{run}' belongs to no sweep of '{recipe_name}'", "Name a sweep or one of its candidates")
    return by_id[parent]


def _candidates(client: MlflowClient, experiment: str, sweep_id: str) -> Iterable[Run]:
    found = search_runs(client, [experiment], equals(f"tags.`{_PARENT}`", sweep_id), ("attributes.start_time ASC",))
    return (run for run in found if run.data.tags.get(_PARENT) == sweep_id)


def _compare(recipe_name: str, parent: Run, children: Sequence[Run], all_sweeps: bool) -> Comparison:
    tags = parent.data.tags
    metric = tags.get(run_tags.METRIC, "")
    higher = tags.get(run_tags.DIRECTION, "max") == "max"
    comparable = [child for child in children if child.info.status == FINISHED and _same_test(child, parent)]
    ranked = sorted(comparable, key=lambda child: _rank(child, metric, higher))
    # Of equals the training itself has chosen one.
    best_id = "" if all_sweeps else tags.get(run_tags.BEST_RUN_ID, "")
    if best_id not in {child.info.run_id for child in comparable}:
        usable = [child for child in ranked if _value(child, metric) is not None]
        best_id = usable[0].info.run_id if usable else ""
    rows = [_row(child, best_id) for child in sorted(children, key=lambda child: _rank(child, metric, higher))]
    rows.sort(key=lambda row: not row.best)
    names = [run.data.tags.get(run_tags.HYPERPARAMETERS, "") for run in (parent, *children)]
    hyperparameters = dict.fromkeys(name for text in names for name in text.split(",") if name)
    return Comparison(
        recipe=recipe_name,
        experiment_id=parent.info.experiment_id,
        parent_run_id=parent.info.run_id,
        parent_name=parent.info.run_name or "",
        metric=metric,
        higher_is_better=higher,
        hyperparameters=tuple(hyperparameters),
        rows=tuple(rows),
        status=parent.info.status,
        synthetic=run_tags.is_synthetic(tags),
    )


def _same_test(child: Run, parent: Run) -> bool:
    """Whether a candidate was judged as those of a sweep are: same months, same metric."""
    months = parent.data.params.get("holdout")
    metric = parent.data.tags.get(run_tags.METRIC)
    return child.data.params.get("holdout", months) == months and child.data.tags.get(run_tags.METRIC, metric) == metric


def _row(run: Run, best_id: str) -> ComparedRun:
    return ComparedRun(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        params=MappingProxyType(dict(run.data.params)),
        metrics=MappingProxyType(dict(run.data.metrics)),
        status=run.info.status,
        best=run.info.run_id == best_id,
        sweep_id=run.data.tags.get(_PARENT, ""),
        leakage=run_tags.flagged_features(run.data.tags),
    )


def _value(run: Run, metric: str) -> float | None:
    value = run.data.metrics.get(metric)
    return None if value is None or math.isnan(value) else float(value)


def _rank(run: Run, metric: str, higher: bool) -> float:
    """Smaller is better; a run without the metric comes last."""
    value = _value(run, metric)
    if value is None:
        return math.inf
    return -value if higher else value


def _panels(comparison: Comparison) -> list[tuple[str, str, list[ComparedRun]]]:
    by_estimator: dict[str, list[ComparedRun]] = {}
    for row in comparison.rows:
        if comparison.metric in row.metrics:
            by_estimator.setdefault(row.params.get("estimator", ""), []).append(row)
    panels = [
        (estimator, parameter, rows)
        for estimator, rows in by_estimator.items()
        for parameter in comparison.hyperparameters
        if any(parameter in row.params for row in rows)
    ]
    return panels or [("", "", [row for rows in by_estimator.values() for row in rows])]


def _draw_panel(
    axes: Axes, comparison: Comparison, estimator: str, parameter: str, rows: Sequence[ComparedRun]
) -> None:
    labels, positions = _positions(axes, parameter, rows)
    measure = comparison.metric.removeprefix("holdout_")
    for part, colour in _COLOURS.items():
        name = f"{part}_{measure}"
        points = [(x, row.metrics[name]) for x, row in zip(positions, rows, strict=True) if name in row.metrics]
        if not points:
            continue
        xs, ys = zip(*points, strict=True)
        axes.scatter(xs, ys, color=colour, s=18, alpha=0.6)
        axes.plot(*zip(*_envelope(points, comparison.higher_is_better), strict=True), color=colour, label=part)
    for x, row in zip(positions, rows, strict=True):
        if row.best:
            axes.scatter(
                [x], [row.metrics[comparison.metric]], marker="*", s=160, color="#2563eb", zorder=3, label="best"
            )
    if labels:
        axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right", fontsize=7)
    axes.set_title(estimator.replace("_", " "), loc="left", fontsize=10)
    axes.set_xlabel(parameter or "run")
    axes.set_ylabel(measure)
    if rows:
        axes.legend(loc="best", fontsize=8, frameon=False)


def _positions(axes: Axes, parameter: str, rows: Sequence[ComparedRun]) -> tuple[list[str], list[float]]:
    """Where each run stands on the axis; the names of the places when values are no numbers."""
    texts = [row.params.get(parameter, "") if parameter else row.name for row in rows]
    numbers = [as_number(text) for text in texts]
    values = [value for value in numbers if value is not None]
    if parameter and values and len(values) == len(texts):
        _scale(axes, values)
        return [], values
    labels = list(dict.fromkeys(texts))
    return labels, [float(labels.index(text)) for text in texts]


def _scale(axes: Axes, values: Sequence[float]) -> None:
    positive = [value for value in values if value > 0]
    if len(positive) < 2 or min(values) < 0 or max(positive) / min(positive) < _DECADES:
        return
    if len(positive) == len(values):
        axes.set_xscale("log")
    else:
        # A zero among them has no logarithm: keep it, one step left of the smallest.
        axes.set_xscale("symlog", linthresh=min(positive))


def _envelope(points: Sequence[tuple[float, float]], higher_is_better: bool) -> list[tuple[float, float]]:
    best: dict[float, float] = {}
    choose = max if higher_is_better else min
    for x, y in points:
        best[x] = choose(best.get(x, y), y)
    return sorted(best.items())
