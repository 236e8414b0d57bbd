"""``taxiway train``: fit a sweep, evaluate it on later months, audit it for leakage, record it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taxiway.cli.options import mlflow_line, same_store, with_json, with_settings
from taxiway.errors import UsageError
from taxiway.names import quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taxiway.leakage import FeatureAudit
    from taxiway.settings import Settings
    from taxiway.training import Training


@click.command("train")
@click.argument("name", required=False, metavar="[RECIPE]")
@click.option("--recipe", metavar="FILE", type=click.Path(path_type=Path), help="A recipe of your own: a Python file.")
@click.option("--train", "train_months", required=True, metavar="MONTHS", help="Months to learn from.")
@click.option(
    "--holdout", metavar="MONTHS", help="Later months to judge on.  [default: the last of --train, by the recipe]"
)
@click.option("--estimator", metavar="NAME", help="One of the recipe's estimators.  [default: the first]")
@click.option(
    "--grid",
    multiple=True,
    metavar="NAME=V,V",
    help="Values to try for a hyper-parameter; several make every combination.",
)
@click.option("--trials", type=int, metavar="N", help="Let Optuna choose N candidates in the recipe's search space.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same data and seed give the same numbers.")
@with_json
@with_settings
def command(
    settings: Settings,
    name: str | None,
    recipe: Path | None,
    train_months: str,
    holdout: str | None,
    estimator: str | None,
    grid: tuple[str, ...],
    trials: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Train RECIPE's candidates on some months and judge them on later ones.

    \b
    Example:  taxiway train tip --train yellow:2018-01..2018-10 --holdout yellow:2018-11..2018-12
              taxiway train card-tip --train green:2023-01..2023-02 --grid regParam=0.001,0.1
              taxiway train --recipe my_recipe.py --train green:2023-01..2023-02 --trials 20
    """
    from taxiway.cli.output import print_json, progress_bars
    from taxiway.training import train

    if (name is None) == (recipe is None):
        raise UsageError("Name one recipe", "taxiway train tip …, or taxiway train --recipe my_recipe.py …")
    with progress_bars() as bars:
        training = train(
            recipe or str(name),
            train_months,
            holdout,
            estimator=estimator,
            grid=parse_grid(grid),
            trials=trials,
            seed=seed,
            settings=settings,
            progress=bars,
        )
    if as_json:
        print_json(document(training))
    else:
        _print(training, settings)


def parse_grid(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Read ``regParam=0.01,0.1`` as values by name.

    Raises
    ------
    UsageError
        No name, no values, or the same name twice.

    Examples
    --------
    >>> parse_grid(["regParam=0.01,0.1", "fitIntercept=true"])
    {'regParam': [0.01, 0.1], 'fitIntercept': [True]}
    """
    grid: dict[str, list[Any]] = {}
    for text in texts:
        key, equals, values = (part.strip() for part in text.partition("="))
        found = [value.strip() for value in values.split(",")]
        if not key or not equals or not all(found):
            raise UsageError(
                f"--grid {text} is not of the form NAME=VALUE,VALUE", "Write for example regParam=0.01,0.1"
            )
        if key in grid:
            raise UsageError(f"--grid names {key} twice", "Put all its values into one")
        grid[key] = [_value(value) for value in found]
    return grid


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def document(training: Training) -> dict[str, Any]:
    """A training as JSON shows it."""
    return {
        "recipe": training.recipe,
        "parent_run_id": training.parent_run_id,
        "best_run_id": training.best_run_id,
        "metric": training.metric,
        "rows": dict(training.rows),
        "rejected": dict(training.rejected),
        "unreadable": dict(training.unreadable),
        "synthetic": training.synthetic,
        "seconds": training.seconds,
        "runs": [
            {"run_id": run.run_id, "params": dict(run.params), "metrics": dict(run.metrics)} for run in training.runs
        ],
        "leakage": [
            {"feature": item.feature, "alone": item.alone, "without": item.without, "flagged": item.flagged}
            for item in training.leakage
        ],
    }


def _print(training: Training, settings: Settings) -> None:
    from taxiway.cli.output import say
    from taxiway.ui import sweep_page

    made_up = " synthetic" if training.synthetic else ""
    say(
        f"{training.recipe}: learned from {training.rows['train']:,}{made_up} trips, "
        f"judged on {training.rows['holdout']:,} later ones, in {training.seconds:.0f} s."
    )
    print_unreadable(training.unreadable)
    print_runs(training)
    print_leakage(training.leakage, training.metric.removeprefix("holdout_"))
    recipe = quote(training.recipe)
    say(mlflow_line(settings, sweep_page(training), recipe))
    name = f"{recipe}{same_store(settings)}"
    say(f"Next: taxiway compare {name}  or  taxiway register {name}")


def print_unreadable(unreadable: Mapping[str, int]) -> None:
    """Show how many values stood in the files and could not be read; nothing where all could."""
    from taxiway.cli.output import print_table

    if unreadable:
        print_table(
            "Values that could not be read, and are unknown to the model", ("column", "values"), [*unreadable.items()]
        )


def print_runs(training: Training) -> None:
    """Show the runs of a training, the best first and marked."""
    from taxiway.cli.output import print_table

    varied = [key for key in training.best.params if len({str(run.params[key]) for run in training.runs}) > 1]
    names = [training.metric, *(key for key in _shown(training.best.metrics) if key != training.metric)]
    rows = [
        (*(_short(run.params[key]) for key in varied), *(run.metrics[key] for key in names), run.run_id)
        for run in training.runs
    ]
    title = f"{training.recipe}: runs, best {training.metric} first"
    print_table(title, (*varied, *(key.replace("holdout_", "") for key in names), "run"), rows, mark=0)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shown(metrics: Mapping[str, float]) -> list[str]:
    return [name for name in metrics if name.startswith("holdout_")]


def print_leakage(leakage: Sequence[FeatureAudit], metric: str) -> None:
    """Show the leakage audit, and a plain warning for each feature that carries the model."""
    from taxiway.cli.output import print_table, say

    rows = [(item.feature, item.alone, item.without, "carries the model" if item.flagged else "") for item in leakage]
    title = f"Leakage audit: {metric} of each feature alone, and of a model fitted without it (on a sample)"
    print_table(title, ("feature", "alone", "without it", ""), rows)
    for item in leakage:
        if item.flagged:
            say(
                f"Warning: {item.feature} carries the model ({metric} {item.alone:.3f} alone, {item.without:.3f} "
                "without it). Ask whether it is known before the label, and what it really tells.",
                style="bold yellow",
            )
