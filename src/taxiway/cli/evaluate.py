"""``taxiway evaluate``: how good a model is on months of trips, alone or beside another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from taxiway.cli.options import with_json, with_settings

if TYPE_CHECKING:
    from taxiway.model_evaluation import ModelEvaluation
    from taxiway.settings import Settings


@click.command("evaluate")
@click.argument("model")
@click.option(
    "--months", required=True, metavar="MONTHS", help="What to judge on: yellow:2019-01, or a range of months."
)
@click.option("--against", metavar="MODEL", help="Another model, judged on the same months.")
@with_json
@with_settings
def command(settings: Settings, model: str, months: str, against: str | None, as_json: bool) -> None:
    """Judge MODEL on months of trips. Nothing is written.

    MODEL is tip for the version in production, tip/3 for a version, or tip@staging for an alias.

    \b
    Example:  taxiway evaluate tip/3 --months yellow:2019-01..2019-03
              taxiway evaluate tip/4 --months yellow:2019-01 --against tip@production
    """
    from taxiway.cli.output import print_json, progress_bars
    from taxiway.model_evaluation import evaluate_model

    with progress_bars() as bars:
        found = evaluate_model(model, months, settings=settings, progress=bars)
        other = evaluate_model(against, months, settings=settings, progress=bars) if against else None
    if as_json:
        print_json({**document(found), "against": document(other) if other else None})
    else:
        _print(found, other)


def document(found: ModelEvaluation) -> dict[str, Any]:
    """An evaluation as JSON shows it."""
    return {
        "model": found.model,
        "version": found.version,
        "run_id": found.run_id,
        "metric": found.metric,
        "rows": found.rows,
        "judged": found.judged,
        "metrics": _plain(found.metrics),
        "months": [
            {"month": str(item.month), "rows": item.rows, "judged": item.judged, "metrics": _plain(item.metrics)}
            for item in found.months
        ],
        "training_metrics": dict(found.training_metrics),
        "unanswered": dict(found.unanswered),
        "unreadable": dict(found.unreadable),
        "synthetic": found.synthetic,
        "seconds": found.seconds,
    }


def _plain(metrics: Any) -> dict[str, float] | None:
    return None if metrics is None else dict(metrics)


def _print(found: ModelEvaluation, other: ModelEvaluation | None) -> None:
    from taxiway.cli.output import print_table, say
    from taxiway.cli.train import print_unreadable

    mine = f"{found.model}/{found.version}"
    kind = " synthetic" if found.synthetic else ""
    say(f"{mine}: {found.rows:,}{kind} trips, {found.judged:,} of them tell what happened and are judged.")
    print_unreadable(found.unreadable)
    if found.metrics is None:
        say("No metrics: these months do not tell what happened, or the same happened on every trip.", style="yellow")
        return
    title, beside = (
        (f"{other.model}/{other.version}", other.metrics) if other else ("at training", found.training_metrics)
    )
    rows = [
        (name, value, (beside or {}).get(name), value - beside[name] if beside and name in beside else None)
        for name, value in found.metrics.items()
    ]
    chosen = next((index for index, row in enumerate(rows) if row[0] == found.metric), None)
    print_table("Metrics", ("metric", mine, title, "difference"), rows, mark=chosen)
    better = "higher" if found.higher_is_better else "lower"
    others = {item.month: item.metrics for item in other.months} if other else {}
    months = [
        (
            str(item.month),
            item.rows,
            item.judged,
            (item.metrics or {}).get(found.metric),
            *([(others[item.month] or {}).get(found.metric)] if other else []),
        )
        for item in found.months
    ]
    heads = ("month", "trips", "judged", mine, *([title] if other else []))
    print_table(f"{found.metric} by month, {better} is better", heads, months)
