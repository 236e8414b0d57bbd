"""What a notebook shows: progress inside a cell, results as tables, pictures.

Every table is a pandas DataFrame, so that a reader can sort, filter and plot it further.
"""

from __future__ import annotations

import html
import tempfile
import threading
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxiway.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Image
    from matplotlib.figure import Figure

    from taxiway.comparison import Comparison
    from taxiway.deletion import Deletion
    from taxiway.leakage import FeatureAudit
    from taxiway.recipes import CompiledRecipe
    from taxiway.scoring import Scoring
    from taxiway.trips.quality import MonthSummary
    from taxiway.versions import Version

_REDRAW_SECONDS = 0.25


def trips_table(summaries: Sequence[MonthSummary]) -> pd.DataFrame:
    """One line for each month: trips read, usable and rejected, and the share (0 to 1) that is usable."""
    import pandas as pd

    rows = [
        (str(month), month.rows, month.valid, month.rows - month.valid, round(month.valid / max(1, month.rows), 4))
        for month in summaries
    ]
    return pd.DataFrame(rows, columns=["month", "rows", "valid", "rejected", "valid share"]).set_index("month")


def rejected_table(summaries: Sequence[MonthSummary]) -> pd.DataFrame:
    """One line for each rule, one column for each month: the trips that break this rule first."""
    import pandas as pd

    frame = pd.DataFrame({str(month): pd.Series(dict(month.rejected), dtype="int64") for month in summaries})
    frame = frame.fillna(0).astype("int64")
    frame["all months"] = frame.sum(axis="columns")
    return frame.sort_values("all months", ascending=False).rename_axis("rule")


def rules_table(recipe: CompiledRecipe) -> pd.DataFrame:
    """One line for each rule of a recipe, in the order they are asked: its name and its condition."""
    import pandas as pd

    rows = [(rule.name, " ".join(rule.condition.split()), rule.at_scoring) for rule in recipe.rules]
    return pd.DataFrame(rows, columns=["rule", "a trip meets it when", "asked at scoring"]).set_index("rule")


def features_table(recipe: CompiledRecipe) -> pd.DataFrame:
    """One line for each feature of a recipe: its kind, and the SQL that makes it from a trip's own columns."""
    import pandas as pd

    numeric = recipe.recipe.numeric
    rows = [
        (name, "number" if name in numeric else "category", " ".join(expression.split()))
        for name, expression in recipe.features.items()
        if name in recipe.recipe.inputs
    ]
    return pd.DataFrame(rows, columns=["feature", "kind", "SQL"]).set_index("feature")


def stages_table(stages: Sequence[Any]) -> pd.DataFrame:
    """One line for each stage of a Spark ML pipeline, fitted or not: what it reads and what it adds.

    Parameters
    ----------
    stages : sequence of Estimator or Transformer
        A list of stages, or ``model.stages``.
    """
    import pandas as pd

    rows = [
        (type(stage).__name__, _columns_of(stage, "input", "features"), _columns_of(stage, "output", "prediction"))
        for stage in stages
    ]
    return pd.DataFrame(rows, columns=["stage", "reads", "adds"], index=range(1, len(rows) + 1))


def runs_table(comparison: Comparison) -> pd.DataFrame:
    """One line for each run, best first: its hyper-parameters, the deciding metric and the holdout's others."""
    import pandas as pd

    metric = comparison.metric
    first = [metric, metric.replace("holdout_", "train_")]
    names = sorted({name for row in comparison.rows for name in row.metrics if name.startswith("holdout_")})
    shown = [*first, *(name for name in names if name not in first)]
    rows = [
        {
            "best": "*" if row.best else "",
            **{name: row.params.get(name, "") for name in comparison.hyperparameters},
            **{name: row.metrics.get(name) for name in shown},
            "status": row.status,
            "run": row.run_id,
        }
        for row in comparison.rows
    ]
    return pd.DataFrame(rows, index=range(1, len(rows) + 1))


def leakage_table(leakage: Sequence[FeatureAudit]) -> pd.DataFrame:
    """One line for each feature: the metric of it alone, of the model without it, and whether it was flagged."""
    import pandas as pd

    rows = [(item.feature, item.alone, item.without, "carries the model" if item.flagged else "") for item in leakage]
    frame = pd.DataFrame(rows, columns=["feature", "alone", "model without it", "verdict"])
    return frame.sort_values("alone", ascending=False).set_index("feature")


def leakage_warning(leakage: Sequence[FeatureAudit]) -> str:
    """The audit's verdict in plain words, one sentence for each flagged feature."""
    warnings = [
        f"Warning: '{item.feature}' carries the model. It reaches {item.alone:.3f} alone, and without it the model "
        f"falls to {item.without:.3f}. Ask whether it is known before the label, and what it really tells."
        for item in leakage
        if item.flagged
    ]
    return "\n".join(warnings) or "No single feature carries the model."


def versions_table(versions: Sequence[Version]) -> pd.DataFrame:
    """One line for each registered version: stage, aliases, the deciding metric and the run it came from."""
    import pandas as pd

    rows = [
        (
            str(version),
            version.stage,
            ", ".join(version.aliases),
            version.metrics.get(version.metric),
            version.description,
            version.run_id,
        )
        for version in versions
    ]
    metric = versions[0].metric if versions else "metric"
    columns = ["version", "stage", "aliases", metric, "description", "run"]
    return pd.DataFrame(rows, columns=columns).set_index("version")


def metrics_table(scoring: Scoring) -> pd.DataFrame:
    """One line for each metric: on the trips that were scored, at training, and the difference."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "here": pd.Series(dict(scoring.metrics or {}), dtype="float64"),
            "at training": pd.Series(dict(scoring.training_metrics), dtype="float64"),
        }
    )
    frame["difference"] = frame["here"] - frame["at training"]
    return frame.reindex(scoring.metrics or frame.index).rename_axis("metric")


def deletion_table(plan: Deletion) -> pd.DataFrame:
    """What a deletion takes and what it leaves, one line each."""
    import pandas as pd

    rows = [("goes", "version", str(version)) for version in plan.versions]
    rows += [("goes", "alias", alias) for alias in plan.aliases]
    rows += [("goes", "registered model", plan.name)] if plan.whole_model else []
    rows += [("stays", "run, its metrics and its model's files", run) for run in plan.runs]
    return pd.DataFrame(rows, columns=["", "what", "name"]).set_index("")


def picture(figure: Figure) -> Image:
    """A figure as an image that any notebook shows, whatever its plotting backend."""
    from IPython.display import Image

    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return Image(data=buffer.getvalue(), format="png")


def run_picture(run_id: str, name: str, settings: Settings) -> Image:
    """A picture that a run keeps in MLflow.

    Parameters
    ----------
    run_id : str
    name : str
        ``evaluation.png`` or ``weights.png`` of a candidate, ``comparison.png`` of a sweep.
    settings : Settings
    """
    from IPython.display import Image

    from taxiway.store import connect

    client = connect(settings)
    with tempfile.TemporaryDirectory() as folder:
        file = client.download_artifacts(run_id, name, folder)
        return Image(data=Path(file).read_bytes(), format="png")


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


def _columns_of(stage: Any, direction: str, other: str) -> str:
    """The columns that a stage reads or adds, as its own parameters say."""
    names = [f"{direction}Cols", f"{direction}Col", f"{other}Col"]
    if direction == "output":
        names += ["probabilityCol"]
    for name in names:
        if stage.hasParam(name) and stage.isDefined(name):
            value = stage.getOrDefault(name)
            return ", ".join(value) if isinstance(value, list) else str(value)
    return "the trip's own columns" if direction == "input" else "one column for each feature"
