"""Bring the stack to the versions of this checkout: new images, the database's schema, and up again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from taxiway.errors import MachineError, Refused
from taxiway.settings import Settings
from taxiway.stack.docker import Docker, find_docker
from taxiway.stack.lifecycle import Started, choose, remember
from taxiway.stack.passwords import finish_rotation
from taxiway.stack.running import PATIENCE, Job, Watch, changing, make_secrets
from taxiway.stack.status import mlflow_version
from taxiway.stack.streams import stores

# In a container of the new image, beside the database alone. The password goes from its file into one that
# libpq reads, in memory; the address in the environment of the image has none.
_MIGRATION = """
umask 077
{ printf '*:*:*:mlflow:' && cat /run/secrets/db_mlflow_password; } >"$PGPASSFILE"
exec mlflow db upgrade "$MLFLOW_BACKEND_STORE_URI"
"""
_MIGRATING = 1800.0


@dataclass(frozen=True)
class Upgrade:
    """What an upgrade did.

    Parameters
    ----------
    started : Started
    before, after : str
        MLflow's versions; `before` is empty when the server did not run.
    """

    started: Started
    before: str
    after: str


def upgrade(
    settings: Settings,
    take_backup: Callable[[], object] | None = None,
    *,
    watch: Watch | None = None,
    patience: float = PATIENCE,
) -> Upgrade:
    """Build the images anew, upgrade the schema of MLflow's database, and start what has changed.

    Parameters
    ----------
    settings : Settings
    take_backup : callable, optional
        Called when the images are ready and everything still runs as it did; its error ends the upgrade there.
    watch : Watch, optional
    patience : float
        Seconds for images and services; the database has half an hour of its own.

    Returns
    -------
    Upgrade

    Raises
    ------
    Refused
        The new PostgreSQL cannot read the data of the old one, or another command is changing the stack.
    TaxiwayError
        As `taxiway.stack.lifecycle.up` does. The migration of MLflow's tables can be run again.
    """
    docker = choose(find_docker(settings))
    with changing(settings):
        make_secrets(docker)
        remember(docker.stack)
        job = Job(docker, settings, watch, patience)
        before = mlflow_version(docker)
        job.build()
        finish_rotation(job)
        _check_database(docker)
        if take_backup is not None:
            # What was stopped is started as it was.
            job.resume(*stores(docker.stack))
            take_backup()
        # Nobody writes while the tables change.
        docker.compose("stop", "mlflow_server", patience=90)
        job.start("db")
        job.watch.begin("Upgrading the database")
        migrate(docker)
        job.watch.end("Upgrading the database")
        started = Started(docker.stack, job.start(), job.log)
    return Upgrade(started, before, mlflow_version(docker))


def _check_database(docker: Docker) -> None:
    """Refuse another major version: PostgreSQL would start beside the old data, and empty."""
    if f"{docker.stack.project}_db" not in docker.names("volume"):
        return
    # An image that is not there yet is pulled for it.
    said = beside(docker, "db", "postgres --version; ls /var/lib/postgresql", PATIENCE)
    new = re.search(r"\(PostgreSQL\) (\d+)", said)
    old = re.findall(r"^(\d+)$", said, re.MULTILINE)
    if new and old and new[1] not in old:
        raise Refused(
            f"This checkout has PostgreSQL {new[1]}, and the stack's data are of PostgreSQL {max(old, key=int)}",
            "Take them along: taxiway stack backup with the former checkout, then clear, up and restore with this one",
        )


def migrate(docker: Docker) -> None:
    """Bring the tables of MLflow's database to the version of the stack's image; none that is there already.

    Raises
    ------
    MachineError
        They were not upgraded.
    """
    try:
        beside(docker, "mlflow_server", _MIGRATION, _MIGRATING)
    except MachineError as error:
        raise MachineError(
            f"The tables of MLflow were not upgraded: {error.message}", "Nothing is lost: run it again, or restore"
        ) from error


def beside(docker: Docker, service: str, script: str, patience: float) -> str:
    """What a shell script says in a container of its own, made of a service's image and gone at the end."""
    words = ("run", "--rm", "--no-deps", "-T", "--entrypoint", "sh", service, "-c", script)
    return docker.compose(*words, patience=patience)
