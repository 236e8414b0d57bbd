"""``taxiway stack status``: how each service is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from taxiway import links
from taxiway.cli.options import with_json, with_settings
from taxiway.settings import Settings

if TYPE_CHECKING:
    from taxiway.stack.status import ServiceStatus, StackStatus


@click.command("status")
@with_json
@with_settings
def command(settings: Settings, as_json: bool) -> int:
    """Show how each service is: healthy or why not, its version, the size of its data, its memory.

    Leaves with code 5 unless every service is healthy.

    \b
    Example:  taxiway stack status
              taxiway stack status --json
    """
    from taxiway.cli.output import print_json, print_table, say, waiting
    from taxiway.errors import Unreachable
    from taxiway.stack.status import status

    with waiting("Asking every service"):
        found = status(settings)
    if as_json:
        print_json(document(found))
    else:
        columns = ("service", "what", "state", "why", "version", "data", "memory")
        print_table(f"Stack {found.stack.project}", columns, [_row(service) for service in found.services])
        for note in found.notes:
            say(f"{note}.", style="yellow")
        say(_summary(found))
    return 0 if found.healthy else Unreachable.exit_code


def document(found: StackStatus) -> dict[str, Any]:
    """The stack as JSON shows it."""
    return {
        "project": found.stack.project,
        "healthy": found.healthy,
        "s3": found.stack.s3,
        "services": [asdict(service) for service in found.services],
        "notes": list(found.notes),
    }


def size(number: int | None) -> str | None:
    """Bytes as people read them.

    Examples
    --------
    >>> size(395418009), size(1200), size(None)
    ('395 MB', '1 kB', None)
    """
    if number is None:
        return None
    for unit, length in (("GB", 10**9), ("MB", 10**6)):
        if number >= length:
            return f"{number / length:.3g} {unit}"
    return f"{number / 1000:.0f} kB"


def _row(service: ServiceStatus) -> tuple[Any, ...]:
    return (
        service.service,
        service.what,
        service.state,
        service.detail or None,
        service.version or None,
        size(service.data_bytes),
        size(service.memory_bytes),
    )


def _summary(found: StackStatus) -> str:
    if not found.running:
        return "The stack does not run. Start it: taxiway stack up"
    if not found.healthy:
        return "Not all is well: taxiway stack logs SERVICE says more, taxiway stack up starts what is not healthy."
    stack = found.stack
    mlflow = links.experiments(links.on_this_machine(stack.mlflow_port))
    return f"JupyterLab {links.on_this_machine(stack.jupyter_port)}   MLflow {mlflow}"
