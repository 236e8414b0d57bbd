"""``taxiway compare``: an experiment's runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taxiway.cli.options import mlflow_line, same_store, with_json, with_settings
from taxiway.names import quote
from taxiway.settings import Settings

if TYPE_CHECKING:
    from taxiway.comparison import ComparedRun, Comparison

_SHORT = 8
"""Characters of a run's id in a table; --run takes them as well."""


@click.command("compare")
@click.argument("recipe")
@click.option("--run", metavar="ID", help="A sweep or one of its candidates; the newest sweep by default.")
@click.option("--all", "all_sweeps", is_flag=True, help="Candidates of every sweep of the experiment.")
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="FILE", help="Also write the picture here (.png, .svg)."
)
@with_json
@with_settings
def command(
    settings: Settings, recipe: str, run: str | None, all_sweeps: bool, plot: Path | None, as_json: bool
) -> None:
    """Show RECIPE's runs side by side, the best one marked.

    The picture of metric against hyper-parameter is kept with the sweep, as comparison.png;
    MLflow's pages show it among the sweep's artifacts.

    \b
    Example:  taxiway compare tip
              taxiway compare tip --all --json
              taxiway compare tip --plot regularisation.png
    """
    from taxiway.cli.output import print_json, waiting
    from taxiway.comparison import compare, save_comparison

    with waiting("Comparing runs"):
        comparison = compare(recipe, settings, run=run, all_sweeps=all_sweeps)
        if plot is not None:
            save_comparison(comparison, plot)
    if as_json:
        print_json([_document(row) for row in comparison.rows])
    else:
        _print(comparison, all_sweeps)
        name = quote(recipe)
        _remark(comparison, settings, f"{name} --run {comparison.parent_run_id[:_SHORT]}" if run else name)


def _document(row: ComparedRun) -> dict[str, Any]:
    return {
        "run_id": row.run_id,
        "name": row.name,
        "params": dict(row.params),
        "metrics": dict(row.metrics),
        "status": row.status,
        "best": row.best,
        "sweep_id": row.sweep_id,
        "leakage": list(row.leakage),
    }


def _print(comparison: Comparison, all_sweeps: bool) -> None:
    from taxiway.cli.output import print_table

    estimators = {row.params.get("estimator", "") for row in comparison.rows}
    varied = [*(["estimator"] if len(estimators) > 1 else []), *comparison.hyperparameters]
    varied += ["holdout"] if all_sweeps else []
    metrics = _metrics(comparison)
    rows = [
        (
            "*" if row.best else "",
            row.run_id[:_SHORT],
            *(_tidy(row.params.get(name)) for name in varied),
            *(row.metrics.get(name) for name in metrics),
            row.status.lower(),
        )
        for row in comparison.rows
    ]
    mark = next((index for index, row in enumerate(comparison.rows) if row.best), None)
    better = "higher" if comparison.higher_is_better else "lower"
    what = ", ".join(
        ["all sweeps" if all_sweeps else comparison.parent_name, *(estimators if len(estimators) == 1 else ())]
    )
    headers = [name.removeprefix("holdout_").replace("_", " ") for name in metrics]
    title = f"{comparison.recipe}: {what}, by {comparison.metric} ({better} is better)"
    print_table(title, ("", "run", *varied, *headers, "status"), rows, mark)


def _remark(comparison: Comparison, settings: Settings, shown_as: str) -> None:
    from taxiway.cli.output import say
    from taxiway.ui import sweep_page

    if comparison.synthetic:
        say("Trained on synthetic trips: the figures say nothing about real riders.", style="yellow")
    if comparison.best is None and comparison.status == "RUNNING":
        say("The sweep is still running; its runs are recorded at its end. Ask again then.", style="yellow")
        return
    if comparison.best is None:
        say("No run finished, so none is best.", style="yellow")
        return
    if comparison.best.leakage:
        say(f"The leakage audit flagged: {', '.join(comparison.best.leakage)}.", style="yellow")
    say(mlflow_line(settings, sweep_page(comparison), shown_as))
    best = comparison.best.run_id
    options = same_store(settings)
    say(f"The best run is {best}. Next: taxiway register {quote(comparison.recipe)} --run {best[:_SHORT]}{options}")


def _metrics(comparison: Comparison) -> list[str]:
    """The deciding metric, its value on training rows, and the other ones of the holdout."""
    names = sorted({name for row in comparison.rows for name in row.metrics})
    first = [comparison.metric, comparison.metric.replace("holdout_", "train_")]
    rest = [name for name in names if name.startswith("holdout_") and name not in first]
    return [name for name in [*first, *rest] if name in names]


def _tidy(text: str | None) -> str | None:
    """A parameter as people write it: 0.001 for 0.0010000000000000002."""
    from taxiway.comparison import as_number

    value = None if text is None else as_number(text)
    return text if value is None else f"{value:.6g}"
