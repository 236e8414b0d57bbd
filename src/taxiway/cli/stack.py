"""``taxiway stack``: the commands of the container stack, each in a module of its own."""

from __future__ import annotations

import click

from taxiway.cli import LazyGroup

# Name -> one line of help; the module of `up` is `stack_up`.
COMMANDS: dict[str, str] = {
    "up": "Build what has changed, start every service and wait until all are healthy.",
    "status": "Show how each service is: health, version, size of its data, memory.",
    "logs": "Show what the services write.",
    "down": "Stop every service; nothing is lost.",
    "passwords": "Show where passwords and keys lie, or change them.",
    "backup": "Write the database and the objects into one archive.",
    "restore": "Bring an archive into an empty stack.",
    "import": "Take an embedded store into the stack.",
    "upgrade": "Bring the stack to the versions of this checkout.",
    "clear": "Remove this stack's containers, networks, volumes and secrets.",
}


@click.group("stack", cls=LazyGroup, table=COMMANDS, prefix="taxiway.cli.stack_")
def command() -> None:
    """Start, stop and look after the container stack: JupyterLab, MLflow, PostgreSQL and S3.

    \b
    Example:  taxiway stack up
              taxiway stack status
    """
