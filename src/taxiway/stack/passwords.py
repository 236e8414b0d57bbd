"""The stack's passwords and keys: where each one lies, and how to change them without losing anything.

A rotation can be broken off anywhere and goes on when it, or ``taxiway stack up``, is run again. A new
value waits in ``NAME.new`` beside the one in use. PostgreSQL is told first, since only it keeps passwords
of its own; then the file takes the place of the old one, in one step; then every service that was started
before that is started anew. Whether one was can be told from the time of the file.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from taxiway.errors import MachineError, Refused, TaxiwayError, UsageError, did_you_mean
from taxiway.settings import Settings
from taxiway.stack.docker import Docker, find_docker, find_stack
from taxiway.stack.running import PATIENCE, Job, Watch, changing, make_secrets
from taxiway.stack.services import SERVICES
from taxiway.stack_settings import StackSettings

SECRETS: Mapping[str, str] = MappingProxyType(
    {
        "db_password": "PostgreSQL's superuser, the role postgres",
        "db_mlflow_password": "MLflow's role in PostgreSQL",
        "mlflow_admin_password": "MLflow's account admin, who may do everything",
        "mlflow_taxiway_password": "MLflow's account taxiway: JupyterLab and the profile stack",
        "mlflow_reader_password": "MLflow's account reader, who changes nothing",
        "mlflow_flask_key": "what MLflow signs its forms with",
        "jupyter_token": "JupyterLab",
        "s3_root": "the S3 server's own key",
        "s3_mlflow": "MLflow's key of its bucket",
        "s3_trips": "Spark's key of the bucket of trips",
    }
)
"""Every secret and what it opens."""

_ROLES = {"db_password": "postgres", "db_mlflow_password": "mlflow"}
_S3_KEYS = ("s3_root", "s3_mlflow", "s3_trips")
_WAKING, _BETWEEN = 90.0, 0.2
_SCRAM_ITERATIONS = 4096  # as PostgreSQL's own


@dataclass(frozen=True)
class Secret:
    """Where one secret lies; never its value.

    Parameters
    ----------
    name, purpose : str
    file : Path
    services : tuple of str
        Who has it.
    changed : datetime, optional
        When it was made; None when it is not there.
    unfinished : bool
        Whether a rotation of it was broken off.
    """

    name: str
    purpose: str
    file: Path
    services: tuple[str, ...]
    changed: datetime | None
    unfinished: bool


@dataclass(frozen=True)
class Rotation:
    """What a rotation did.

    Parameters
    ----------
    names : tuple of str
        The secrets that are new.
    services : tuple of str
        The running services that were started anew with them.
    """

    names: tuple[str, ...]
    services: tuple[str, ...]


def list_secrets(settings: Settings, names: Sequence[str] = ()) -> tuple[Secret, ...]:
    """Where secrets lie: all, or those that are named. Needs no Docker.

    Raises
    ------
    UsageError
        There is no secret of that name.
    NotFound
        There is no stack.
    """
    stack = find_stack(settings)
    return tuple(_secret(stack, name) for name in _known(names))


def reveal(settings: Settings, name: str) -> str:
    """The value of one secret.

    Raises
    ------
    UsageError
        There is no secret of that name.
    NotFound
        It has not been made yet.
    MachineError
        It cannot be read.
    """
    return find_stack(settings).read_secret(*_known([name]))


def rotate(
    settings: Settings, names: Sequence[str] = (), watch: Watch | None = None, patience: float = PATIENCE
) -> Rotation:
    """Change secrets, all or those that are named, and restart what uses them.

    Nothing that is stored is lost; kernels that run in JupyterLab end when a secret of its is among them.

    Parameters
    ----------
    settings : Settings
    names : sequence of str
        Keys of `SECRETS`.
    watch : Watch, optional
    patience : float
        Seconds for all of it.

    Returns
    -------
    Rotation

    Raises
    ------
    UsageError
        There is no secret of that name.
    NotFound
        There is no stack, or it was never started.
    Refused
        The keys belong to an S3 endpoint elsewhere, or another command is changing the stack.
    Unreachable
        A service does not become healthy with its new secret.
    """
    docker = find_docker(settings)
    chosen = _to_rotate(docker.stack, names)
    with changing(settings):
        for name in chosen:
            docker.stack.read_secret(name)
            if not _new(docker.stack, name).exists():
                make_secrets(docker, name)
        return finish_rotation(Job(docker, settings, watch, patience))


def finish_rotation(job: Job) -> Rotation:
    """Go on with a rotation from wherever it is; nothing happens when there is none."""
    docker, stack = job.docker, job.docker.stack
    names = tuple(name for name in SECRETS if _new(stack, name).exists())
    running = tuple(item.service for item in job.containers().values() if item.status == "running")
    if not names:
        return Rotation((), ())
    roles = {_ROLES[name]: _new(stack, name).read_text(encoding="utf-8").strip() for name in names if name in _ROLES}
    told = bool(roles) and f"{stack.project}_db" in docker.names("volume")
    if told:
        if "db" not in running:
            _wake_database(job)
        _tell_database(docker, roles)
    for name in names:
        _put_in_place(stack, name)
    if told and "db" not in running:
        docker.compose("stop", "db", patience=90)
    if running:
        job.start(*running)
    users = [item.name for item in SERVICES.values() if set(item.secrets) & set(names)]
    return Rotation(names, tuple(name for name in users if name in running))


def scram_verifier(password: str, salt: bytes) -> str:
    """What PostgreSQL keeps of a password: given this, the server never sees the password, nor does its log.

    As RFC 5803 writes it, for a password of ASCII characters.
    """
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, _SCRAM_ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    parts = [b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{parts[0]}${parts[1]}:{parts[2]}"


def _wake_database(job: Job) -> None:
    """Start the database. Its health check may still have the former password, so it is not waited for."""
    there = job.containers().get("db")
    if there is None:
        job.start("db")
        return
    job.docker.run("start", there.id)
    end = time.monotonic() + _WAKING
    while True:
        try:
            job.docker.execute("db", "pg_isready", "--quiet")
        except TaxiwayError:
            if time.monotonic() > end:
                raise
            time.sleep(_BETWEEN)  # between two questions: PostgreSQL tells nobody outside when it is ready
        else:
            return


def _tell_database(docker: Docker, passwords: Mapping[str, str]) -> None:
    lines = [
        f"ALTER ROLE {role} PASSWORD '{scram_verifier(word, os.urandom(16))}';" for role, word in passwords.items()
    ]
    sql = "\n".join(["BEGIN;", *lines, "COMMIT;"])
    command = ("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--username=postgres", "--dbname=postgres")
    # Through the socket in the container, which asks for no password: it works with the old one and with the new one.
    docker.execute("db", *command, stdin=sql.encode())


def _put_in_place(stack: StackSettings, name: str) -> None:
    new = _new(stack, name)
    try:
        # The time of the change, from which `is_outdated` tells who runs with the old value.
        os.utime(new)
        new.replace(stack.secrets / name)
    except OSError as error:
        raise MachineError(f"{stack.secrets / name} cannot be replaced: {error.strerror}", "Run this again") from error


def _to_rotate(stack: StackSettings, names: Sequence[str]) -> list[str]:
    chosen = _known(names)
    if stack.s3 != "external":
        return chosen
    foreign = [name for name in names if name in _S3_KEYS]
    if foreign:
        raise Refused(
            f"{foreign[0]} is a key of an S3 endpoint elsewhere, which alone can change it",
            f"Write the new one into {stack.secrets / foreign[0]}, then run: taxiway stack up",
        )
    return [name for name in chosen if name not in _S3_KEYS]


def _known(names: Sequence[str]) -> list[str]:
    for name in names:
        if name not in SECRETS:
            raise UsageError(f"The stack has no secret '{name}'", did_you_mean(name, SECRETS))
    return list(names or SECRETS)


def _secret(stack: StackSettings, name: str) -> Secret:
    file = stack.secrets / name
    try:
        changed = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except FileNotFoundError:
        changed = None
    except OSError as error:
        raise MachineError(f"{file} cannot be read: {error.strerror}", "Run this as who started the stack") from error
    services = tuple(service.name for service in SERVICES.values() if name in service.secrets)
    return Secret(name, SECRETS[name], file, services, changed, _new(stack, name).exists())


def _new(stack: StackSettings, name: str) -> Path:
    return stack.secrets / f"{name}.new"
