"""``taxiway demo``: the main job in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from taxiway.cli.options import mlflow_line, same_store, with_json, with_settings

if TYPE_CHECKING:
    from taxiway.demo import Demo
    from taxiway.settings import Settings


@click.command("demo")
@with_json
@with_settings
def command(settings: Settings, as_json: bool) -> None:
    """Run the main job once on green trips of early 2023: fetch, train, register, promote, score.

    If the source of trips cannot be reached, it goes on with synthetic trips and says so.

    \b
    Example:  taxiway demo
              taxiway demo --trips-source /data/tlc --home /tmp/taxiway-demo
    """
    from taxiway.cli.output import print_json, progress_bars
    from taxiway.demo import run_demo

    with progress_bars() as bars:
        demo = run_demo(settings, bars)
    if as_json:
        print_json(document(demo))
    else:
        _print(demo)


def document(demo: Demo) -> dict[str, Any]:
    """The demo's outcome as JSON shows it."""
    from taxiway.cli.models import document as version_document
    from taxiway.cli.score import document as scoring_document
    from taxiway.cli.train import document as training_document

    return {
        "source": demo.source,
        "synthetic": demo.training.synthetic,
        "seconds": demo.seconds,
        "train": training_document(demo.training),
        "production": version_document(demo.version),
        "moves": [str(move) for move in demo.moves],
        "score": scoring_document(demo.scoring),
    }


def _print(demo: Demo) -> None:
    from taxiway.cli.output import print_table, say
    from taxiway.cli.score import print_scoring
    from taxiway.cli.train import print_leakage, print_runs
    from taxiway.ui import pages_address, sweep_page, version_page

    training = demo.training
    if training.synthetic:
        say("The trips of this demo are synthetic: no figure below says anything about real ones.", style="bold yellow")
    rows = training.rows
    print_runs(training)
    print_leakage(training.leakage, training.metric.removeprefix("holdout_"))
    moves = [(f"{move.name}/{move.version}", move.before, move.after) for move in demo.moves]
    print_table("Registry", ("version", "from", "to"), moves)
    print_scoring(demo.scoring)
    say()
    say(f"Trips:          {demo.source}")
    say(f"Learned from:   {rows['train']:,} trips; judged on {rows['holdout']:,} later ones")
    say(f"In production:  {demo.version}, run {demo.version.run_id}", style="bold")
    say(f"Took:           {demo.seconds:.0f} s")
    if pages_address(demo.settings) is not None:
        sweep, version = sweep_page(training), version_page(demo.version.name, demo.version.version)
        say(mlflow_line(demo.settings, sweep, training.recipe))
        say(mlflow_line(demo.settings, version, str(demo.version)))
    say()
    say("Next:")
    commands = _next_commands(demo)
    width = max(len(line) for line, _ in commands)
    for line, meaning in commands:
        say(f"  {line:<{width}}   {meaning}")


def _next_commands(demo: Demo) -> list[tuple[str, str]]:
    from taxiway.ui import pages_address

    settings = demo.settings
    # What was said on this command line, or made by this demo, later commands do not know.
    options = same_store(settings)
    given = demo.training.synthetic or settings.origins.get("trips_source") == "--trips-source"
    source = f" --trips-source {settings.trips_source}" if given else ""
    recipe = demo.training.recipe
    served = pages_address(settings) is not None
    return [
        *([] if served else [(f"taxiway ui {recipe}{options}", "see all of this in MLflow")]),
        (f"taxiway compare {recipe}{options}", "the runs side by side"),
        (
            f"taxiway train card-tip --train green:2023-01 --holdout green:2023-02{options}{source}",
            "the honest question",
        ),
    ]
