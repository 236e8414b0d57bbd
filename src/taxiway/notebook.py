"""What a notebook shows: progress inside a cell, results as tables, pictures.

Every table is a pandas Styler; its ``data`` is the DataFrame, to sort, filter and plot further.
"""

from __future__ import annotations

import html
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxiway.settings import Settings
from taxiway.versions import PRODUCTION

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas.io.formats.style import Styler
    from pandas.io.formats.style_render import CSSDict

    from taxiway.comparison import Comparison
    from taxiway.deletion import Deletion
    from taxiway.leakage import FeatureAudit
    from taxiway.recipes import CompiledRecipe
    from taxiway.scoring import Scoring
    from taxiway.training import Training
    from taxiway.trips.quality import MonthSummary
    from taxiway.versions import Version

_REDRAW_SECONDS = 0.25
_SHORT = 8
# A text colour of its own: the page behind may be light or dark.
_GOOD = "background-color: #d1fae5; color: #064e3b; font-weight: bold"
_ALARMING = "background-color: #fef3c7; color: #78350f; font-weight: bold"


def trips_table(summaries: Sequence[MonthSummary]) -> Styler:
    """One line for each month: trips read, usable and rejected, the usable share, and values that cannot be read."""
    rows = [
        (
            str(month),
            month.rows,
            month.valid,
            month.rows - month.valid,
            month.valid / max(1, month.rows),
            sum(month.unreadable.values()),
        )
        for month in summaries
    ]
    columns = ["month", "rows", "valid", "rejected", "share valid", "unreadable values"]
    return _table(rows, columns).format("{:.1%}", subset=["share valid"])


def rejected_table(summaries: Sequence[MonthSummary]) -> Styler:
    """One line for each rule: the trips that break this rule first, in all months and in each."""
    rules: Counter[str] = Counter()
    for month in summaries:
        rules.update(month.rejected)
    rows = [(rule, trips, *(month.rejected.get(rule, 0) for month in summaries)) for rule, trips in rules.most_common()]
    return _table(rows, ["rule", "all", *(month.month for month in summaries)])


def rules_table(recipe: CompiledRecipe) -> Styler:
    """One line for each rule of a recipe, in the order they are asked."""
    at_scoring = {rule.name: "yes" if rule.at_scoring else "no" for rule in recipe.rules}
    rows = [(rule.name, rule.condition, at_scoring[rule.name]) for rule in recipe.recipe.rules]
    return _table(rows, ["rule", "a trip meets it when", "asked at scoring"])


def features_table(recipe: CompiledRecipe) -> Styler:
    """One line for each feature of a recipe: its kind, and the SQL that makes it."""
    declared, numeric = recipe.recipe.features, recipe.recipe.numeric
    rows = [
        (name, "number" if name in numeric else "category", " ".join(declared.get(name, name).split()))
        for name in recipe.recipe.inputs
    ]
    return _table(rows, ["feature", "kind", "SQL"])


def stages_table(stages: Sequence[Any]) -> Styler:
    """One line for each stage of a Spark ML pipeline, fitted or not: what it reads and what it adds.

    Parameters
    ----------
    stages : sequence of Estimator or Transformer
        A list of stages, or ``model.stages``.
    """
    rows = [
        (
            number,
            type(stage).__name__,
            _columns_of(stage, "inputCols", "inputCol", "featuresCol") or "the trip's own columns",
            _columns_of(stage, "outputCols", "outputCol", "probabilityCol", "predictionCol") or "the features",
        )
        for number, stage in enumerate(stages, 1)
    ]
    return _table(rows, ["", "stage", "reads", "adds"])


def runs_table(comparison: Comparison) -> Styler:
    """One line for each run, best first and marked: hyper-parameters and metrics, the deciding one first."""
    first = [comparison.metric, comparison.metric.replace("holdout_", "train_")]
    names = sorted({name for row in comparison.rows for name in row.metrics if name.startswith("holdout_")})
    metrics = [*first, *(name for name in names if name not in first)]
    rows = [
        (
            row.run_id[:_SHORT],
            *(row.params.get(name, "") for name in comparison.hyperparameters),
            *(row.metrics.get(name) for name in metrics),
            "best" if row.best else row.status.lower(),
        )
        for row in comparison.rows
    ]
    marked = [row.run_id[:_SHORT] for row in comparison.rows if row.best]
    return _table(rows, ["run", *comparison.hyperparameters, *metrics, "status"], marked, _GOOD)


def leakage_table(leakage: Sequence[FeatureAudit]) -> Styler:
    """One line for each feature: the metric of it alone, of the model without it, and the verdict."""
    rows = [(item.feature, item.alone, item.without, "carries the model" if item.flagged else "") for item in leakage]
    flagged = [item.feature for item in leakage if item.flagged]
    return _table(rows, ["feature", "alone", "model without it", "verdict"], flagged, _ALARMING)


def leakage_warning(leakage: Sequence[FeatureAudit]) -> str:
    """The audit's verdict in plain words, one sentence for each flagged feature."""
    warnings = [
        f"Warning: '{item.feature}' carries the model. It reaches {item.alone:.3f} alone, and without it the model "
        f"falls to {item.without:.3f}. Ask whether it is known before the label, and what it really tells."
        for item in leakage
        if item.flagged
    ]
    return "\n".join(warnings) or "No single feature carries the model."


def versions_table(versions: Sequence[Version]) -> Styler:
    """One line for each registered version: stage, aliases, the deciding metric and the run it came from."""
    rows = [
        (
            str(version),
            version.stage,
            ", ".join(version.aliases),
            version.metrics.get(version.metric),
            version.description,
            version.run_id[:_SHORT],
        )
        for version in versions
    ]
    metric = versions[0].metric if versions else "metric"
    in_production = [str(version) for version in versions if version.stage == PRODUCTION]
    return _table(rows, ["version", "stage", "aliases", metric, "description", "run"], in_production, _GOOD)


def metrics_table(scoring: Scoring) -> Styler:
    """One line for each metric: on the trips that were scored, at training, and the difference."""
    training = scoring.training_metrics
    rows = [
        (name, value, training.get(name), value - training[name] if name in training else None)
        for name, value in (scoring.metrics or {}).items()
    ]
    return _table(rows, ["metric", "here", "at training", "difference"], [scoring.metric], _GOOD)


def deletion_table(plan: Deletion) -> Styler:
    """What a deletion takes and what it leaves, one line each."""
    rows = [(str(version), "version", "goes") for version in plan.versions]
    rows += [(alias, "alias", "goes") for alias in plan.aliases]
    rows += [(plan.name, "registered model", "goes")] if plan.whole_model else []
    rows += [(run, "run, with its metrics and its model's files", "stays") for run in plan.runs]
    gone = [name for name, _, fate in rows if fate == "goes"]
    return _table(rows, ["name", "what", "fate"], gone, _ALARMING)


def mlflow_link(settings: Settings, what: Comparison | Training | Version | None = None) -> str:
    """Where MLflow's own pages show a sweep, a version, or by default all experiments.

    Parameters
    ----------
    settings : Settings
    what : Comparison, Training or Version, optional

    Returns
    -------
    str
        A link for the browser; for a store without a server, the command that opens the page.
    """
    from taxiway import links, ui
    from taxiway.versions import Version

    if what is None:
        return ui.where(settings, links.experiments)
    if isinstance(what, Version):
        return ui.where(settings, ui.version_page(what.name, what.version), str(what))
    return ui.where(settings, ui.sweep_page(what), what.recipe)


@dataclass(frozen=True)
class Picture:
    """An image that a notebook shows, whatever its plotting backend."""

    png: bytes

    def _repr_png_(self) -> bytes:
        return self.png


def picture(figure: Figure) -> Picture:
    """A figure as a picture in a cell."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return Picture(buffer.getvalue())


def run_picture(run_id: str, name: str, settings: Settings) -> Picture:
    """A picture that a run keeps in MLflow.

    Parameters
    ----------
    run_id : str
    name : str
        ``evaluation.png`` or ``weights.png`` of a candidate, ``comparison.png`` of a sweep.
    settings : Settings
    """
    from taxiway.store import connect

    client = connect(settings)
    with tempfile.TemporaryDirectory() as folder:
        file = client.download_artifacts(run_id, name, folder)
        return Picture(Path(file).read_bytes())


class CellProgress:
    """A `taxiway.progress.Progress` that draws inside the output of a notebook's cell.

    One line for each task: done with its seconds, or under way with how far it is. Make a new one
    in each cell.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, _Task] = {}
        self._notes: list[str] = []
        self._handle: Any = None
        self._drawn = 0.0
        # Fits report from threads of their own.
        self._lock = threading.Lock()

    def begin(self, task: str, total: float | None = None, unit: str = "") -> None:
        """Show a line; beginning a task again changes its length."""
        with self._lock:
            self._tasks.setdefault(task, _Task(task)).begin(total, unit)
            self._draw()

    def advance(self, task: str, by: float = 1) -> None:
        """Count on a line."""
        with self._lock:
            self._tasks.setdefault(task, _Task(task)).done += by
            if time.monotonic() - self._drawn > _REDRAW_SECONDS:
                self._draw()

    def end(self, task: str) -> None:
        """Tick a line off."""
        with self._lock:
            if task in self._tasks:
                self._tasks[task].end()
                self._draw()

    def note(self, message: str) -> None:
        """Write a sentence below the lines."""
        with self._lock:
            self._notes.append(message)
            self._draw()

    def text(self) -> str:
        """What is shown, one line for each task and each note."""
        return "\n".join([*map(str, self._tasks.values()), *self._notes])

    def _draw(self) -> None:
        from IPython.display import HTML, display

        shown = HTML(f"<pre>{html.escape(self.text())}</pre>")
        self._drawn = time.monotonic()
        if self._handle is None:
            self._handle = display(shown, display_id=True)
        if self._handle is not None:
            self._handle.update(shown)


class _Task:
    def __init__(self, name: str) -> None:
        self.name = name
        self.done = 0.0
        self.total: float | None = None
        self.unit = ""
        self.began = time.monotonic()
        self.seconds: float | None = None

    def begin(self, total: float | None, unit: str) -> None:
        self.total, self.unit, self.done, self.seconds = total, unit, 0.0, None

    def end(self) -> None:
        self.seconds = time.monotonic() - self.began

    def __str__(self) -> str:
        scale, unit = (1e6, " MB") if self.unit == "B" else (1, "")
        amount = f"{self.done / scale:.0f}" + (f" of {self.total / scale:.0f}" if self.total else "") + unit
        if self.seconds is not None:
            counted = f"{amount}, " if self.done else ""
            return f"✓ {self.name}: {counted}{self.seconds:.1f} s"
        return f"… {self.name}" + (f": {amount}" if self.total or self.done else "")


def _table(
    rows: Sequence[tuple[Any, ...]], columns: Sequence[str], marked: Sequence[str] = (), css: str = ""
) -> Styler:
    """A table whose first column names its lines; those that are marked stand out."""
    import pandas as pd

    frame = pd.DataFrame(list(rows), columns=list(columns)).set_index(columns[0])
    frame.index.name = None
    styled = frame.style.format(precision=4, thousands=",", na_rep="-")
    texts = pd.Index([name for name in frame.columns if frame[name].dtype == object])
    styled = styled.set_properties(**{"text-align": "left"}, subset=texts)
    left: list[CSSDict] = [{"selector": "th", "props": "text-align: left"}]
    styled = styled.set_table_styles([{"selector": "th.row_heading", "props": "text-align: left"}])
    styled = styled.set_table_styles(dict.fromkeys(texts, left), overwrite=False)
    if marked:
        styled = styled.apply(lambda line: [css if line.name in marked else ""] * len(line), axis="columns")
    return styled


def _columns_of(stage: Any, *names: str) -> str:
    """The columns that a stage reads or adds, as its own parameters say.

    Stages for one column or several have a parameter for each; the one in use is set, and the
    other one may have a default that means nothing.
    """
    used = [name for name in names if stage.hasParam(name) and stage.isSet(name) and name.endswith("Cols")]
    columns: list[str] = []
    for name in used or names:
        if stage.hasParam(name) and stage.isDefined(name):
            value = stage.getOrDefault(name)
            columns += value if isinstance(value, list) else [value]
    return ", ".join(columns)
