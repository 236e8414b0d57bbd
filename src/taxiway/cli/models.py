"""``taxiway models``: versions, their stages, metrics, age and runs."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from taxiway import links
from taxiway.cli.options import mlflow_line, with_json, with_settings
from taxiway.names import quote
from taxiway.settings import Settings

if TYPE_CHECKING:
    from taxiway.registry import Version


@click.command("models")
@click.argument("model", required=False)
@with_json
@with_settings
def command(settings: Settings, model: str | None, as_json: bool) -> None:
    """List registered versions, or those of one MODEL.

    \b
    Example:  taxiway models
              taxiway models tip --json
    """
    from taxiway.cli.output import print_json, print_table, say, waiting
    from taxiway.registry import models

    with waiting("Reading the registry"):
        versions = models(model, settings)
    if as_json:
        print_json([document(version) for version in versions])
        return
    if not versions:
        say("No model is registered yet. Register one: taxiway register tip")
        return
    columns = ("model", "stage", "aliases", "metric", "value", "age", "run", "description")
    print_table("Registered models", columns, [_row(version) for version in versions])
    for version in versions:
        if version.disagreement:
            repair = quote(str(version))
            say(
                f"{version} {version.disagreement}; taxiway promote {repair} --to {version.stage.lower()} repairs it.",
                style="yellow",
            )
    newest = {version.name: version for version in reversed(versions)}
    for name in sorted(newest):
        say(mlflow_line(settings, partial(links.model, name=name), quote(str(newest[name]))))


def document(version: Version) -> dict[str, Any]:
    """A version as JSON shows it."""
    return {
        "name": version.name,
        "version": version.version,
        "stage": version.stage,
        "aliases": list(version.aliases),
        "run_id": version.run_id,
        "metric": version.metric,
        "metrics": dict(version.metrics),
        "description": version.description,
        "tags": dict(version.tags),
        "created": version.created.isoformat(),
        "age_seconds": int((datetime.now(UTC) - version.created).total_seconds()),
        "leakage": list(version.flagged),
        "synthetic": version.synthetic,
        "disagreement": version.disagreement or None,
        "already_registered": version.already_registered,
    }


def describe_age(seconds: float) -> str:
    """How long ago, in the largest unit that fits.

    Examples
    --------
    >>> describe_age(59), describe_age(7200), describe_age(200_000)
    ('59 s', '2 h', '2 d')
    """
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"


def _row(version: Version) -> tuple[Any, ...]:
    age = (datetime.now(UTC) - version.created).total_seconds()
    note = " (synthetic)" if version.synthetic else ""
    return (
        f"{version}{note}",
        version.stage,
        ", ".join(version.aliases) or None,
        version.metric or None,
        version.metrics.get(version.metric),
        describe_age(age),
        version.run_id,
        version.description or None,
    )
