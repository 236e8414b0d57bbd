"""``taxiway compare``: an experiment's runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taxiway.cli.options import with_json, with_settings
from taxiway.settings import Settings

if TYPE_CHECKING:
    from taxiway.comparison import ComparedRun, Comparison


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
    taxiway ui shows it.

    \b
    Example:  taxiway compare tip
              taxiway compare tip --all --json
              taxiway compare tip --plot regularisation.png
    """
    from taxiway.cli.output import print_json
    from taxiway.comparison import compare, save_comparison

    comparison = compare(recipe, settings, run=run, all_sweeps=all_sweeps)
    if plot is not None:
        save_comparison(comparison, plot)
    if as_json:
        print_json([_document(row) for row in comparison.rows])
    else:
        _print(comparison, all_sweeps)


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
    from taxiway.cli.output import print_table, say

    varied = ["estimator", *comparison.hyperparameters, *(["holdout"] if all_sweeps else [])]
    varied = [name for name in varied if any(name in row.params for row in comparison.rows)]
    metrics = _metrics(comparison)
    rows = [
        (
            "*" if row.best else "",
            row.run_id,
            *(_number(row.params.get(name)) for name in varied),
            *(row.metrics.get(name) for name in metrics),
            row.status.lower(),
        )
        for row in comparison.rows
    ]
    mark = next((index for index, row in enumerate(comparison.rows) if row.best), None)
    better = "higher" if comparison.higher_is_better else "lower"
    title = f"{comparison.recipe}: {'all sweeps' if all_sweeps else comparison.parent_name}, by {comparison.metric}"
    print_table(f"{title} ({better} is better)", ("", "run", *varied, *metrics, "status"), rows, mark)
    if comparison.synthetic:
        say("Trained on synthetic trips: the figures say nothing about real riders.", style="yellow")
    if comparison.best is None:
        say("No run finished, so none is best.", style="yellow")
    elif comparison.best.leakage:
        say(f"The leakage audit flagged: {', '.join(comparison.best.leakage)}.", style="yellow")


def _metrics(comparison: Comparison) -> list[str]:
    """The deciding metric, its value on training rows, and the other ones of the holdout."""
    names = sorted({name for row in comparison.rows for name in row.metrics})
    first = [comparison.metric, comparison.metric.replace("holdout_", "train_")]
    rest = [name for name in names if name.startswith("holdout_") and name not in first]
    return [name for name in [*first, *rest] if name in names]


def _number(text: str | None) -> float | int | str | None:
    from taxiway.comparison import as_number

    value = None if text is None else as_number(text)
    if text is None or value is None:
        return text
    return int(text) if text.isdigit() else value
