"""``taxiway score``: months of trips through a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from taxiway.cli.options import with_json, with_settings

if TYPE_CHECKING:
    from taxiway.scoring import Scoring
    from taxiway.settings import Settings


@click.command("score")
@click.argument("model")
@click.option("--months", required=True, metavar="MONTHS", help="What to score: yellow:2019-01, or a range of months.")
@click.option(
    "--out",
    required=True,
    metavar="FOLDER",
    help="Where to, a folder or s3a://bucket/folder: Parquet, one folder for each colour and month. "
    "A month scored again is replaced.",
)
@with_json
@with_settings
def command(settings: Settings, model: str, months: str, out: str, as_json: bool) -> None:
    """Score months of trips with MODEL.

    MODEL is tip for the version in production, tip/3 for a version, or tip@staging for an alias.

    Every trip is written with its prediction, or without one and with the reason. Where the
    labels are known, the metrics are compared with those at training.

    \b
    Example:  taxiway score tip --months yellow:2019-01 --out predictions/
              taxiway score duration/2 --months green:2023-01..2023-02 --out minutes/ --json
    """
    from taxiway.cli.output import print_json, progress_bars
    from taxiway.scoring import score

    with progress_bars() as bars:
        scoring = score(model, months, out, settings=settings, progress=bars)
    if as_json:
        print_json(document(scoring))
    else:
        print_scoring(scoring)


def document(scoring: Scoring) -> dict[str, Any]:
    """A scoring as JSON shows it."""
    return {
        "model": scoring.model,
        "version": scoring.version,
        "run_id": scoring.run_id,
        "months": [str(month) for month in scoring.months],
        "rows": scoring.rows,
        "answered": scoring.answered,
        "unanswered": dict(scoring.unanswered),
        "unreadable": dict(scoring.unreadable),
        "metric": scoring.metric,
        "metrics": dict(scoring.metrics) if scoring.metrics is not None else None,
        "judged": scoring.judged,
        "training_metrics": dict(scoring.training_metrics),
        "synthetic": scoring.synthetic,
        "path": str(scoring.path),
        "seconds": scoring.seconds,
    }


def print_scoring(scoring: Scoring) -> None:
    """Show what a scoring did, and its metrics beside those at training."""
    from taxiway.cli.output import print_table, say
    from taxiway.cli.train import print_unreadable
    from taxiway.trips.months import describe_months

    kind = " synthetic" if scoring.synthetic else ""
    months = describe_months(scoring.months)
    say(f"{scoring.rows:,}{kind} trips of {months} scored with {scoring.model}/{scoring.version}.")
    if scoring.unanswered:
        say(f"{scoring.rows - scoring.answered:,} of them are kept without an answer, by the rule that they break:")
        print_table("Without an answer", ("rule", "trips"), list(scoring.unanswered.items()))
    print_unreadable(scoring.unreadable)
    if scoring.metrics is None:
        say("No metrics: these months do not tell what happened, or the same happened on every trip.", style="yellow")
    else:
        say(f"{scoring.judged:,} of them meet the rules of training and tell what happened:")
        rows = _compared(scoring.metrics, scoring.training_metrics)
        chosen = next((index for index, row in enumerate(rows) if row[0] == scoring.metric), None)
        print_table("Metrics", ("metric", "here", "at training", "difference"), rows, mark=chosen)
    say(f"Predictions: {scoring.path}")


def _compared(here: Any, training: Any) -> list[tuple[str, float, float | None, float | None]]:
    return [
        (name, value, training.get(name), value - training[name] if name in training else None)
        for name, value in here.items()
    ]
