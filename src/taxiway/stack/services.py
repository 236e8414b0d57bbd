"""The services of the stack: what each is for, what it waits for, and how its container is just now."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from taxiway.stack.docker import SERVICE_LABEL
from taxiway.stack.faults import last_line, recognise

MOST_RESTARTS = 3
"""After so many restarts a service is taken for failed: the database may make MLflow start twice."""


_MOST_FAILURES = 2  # one may be the hiccup of a busy machine


@dataclass(frozen=True)
class Service:
    """One service, as ``compose.yaml`` has it; a test compares the two.

    Parameters
    ----------
    name : str
    what : str
        What it is, in a few words.
    waits_for : tuple of str
        The services that have to be healthy, or done, before it starts.
    secrets : tuple of str
        What is mounted into it.
    volumes : tuple of str
        What it keeps its data in, under any S3 server.
    one_shot : bool
        Whether it ends when it is done.
    version : tuple of str
        A command in its container that prints the version of its program.
    """

    name: str
    what: str
    waits_for: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    one_shot: bool = False
    version: tuple[str, ...] = ()


_VERSION = "from importlib.metadata import version; print(version('{}'))"
_MLFLOW_SECRETS = (
    "db_mlflow_password",
    "s3_mlflow",
    "mlflow_admin_password",
    "mlflow_taxiway_password",
    "mlflow_reader_password",
    "mlflow_flask_key",
)

SERVICES: Mapping[str, Service] = MappingProxyType(
    {
        service.name: service
        for service in (
            Service(
                "db",
                "PostgreSQL",
                secrets=("db_password", "db_mlflow_password"),
                volumes=("db",),
                version=("postgres", "--version"),
            ),
            Service(
                "s3",
                "S3 server",
                secrets=("s3_root",),
                volumes=("s3", "s3_minio"),
                version=("sh", "-c", "weed version 2>/dev/null || minio --version | head -n 1"),
            ),
            Service(
                "create_s3_buckets",
                "buckets, policies and keys",
                waits_for=("s3",),
                secrets=("s3_root", "s3_mlflow", "s3_trips"),
                one_shot=True,
            ),
            Service(
                "mlflow_server",
                "MLflow",
                waits_for=("db", "create_s3_buckets"),
                secrets=_MLFLOW_SECRETS,
                volumes=("spool",),
                version=("/opt/venv/bin/python", "-c", _VERSION.format("mlflow")),
            ),
            Service(
                "jupyterlab_spark",
                "JupyterLab with Spark",
                waits_for=("mlflow_server",),
                secrets=("jupyter_token", "mlflow_taxiway_password", "s3_trips"),
                volumes=("work", "home"),
                version=("/opt/venv/bin/python", "-c", _VERSION.format("pyspark")),
            ),
            # Of the profile `cluster`.
            Service("spark_master", "Spark's master"),
            *(
                Service(name, "a Spark worker", waits_for=("spark_master",), secrets=("s3_trips",), volumes=(name,))
                for name in ("spark_worker_1", "spark_worker_2")
            ),
        )
    }
)


@dataclass(frozen=True)
class Container:
    """What Docker says of one container.

    Parameters
    ----------
    id, service, image : str
    status : str
        Docker's word: ``created``, ``running``, ``restarting``, ``paused``, ``exited``, ``dead``.
    exit_code : int
        Of the last time it ended.
    error : str
        Why Docker could not start it; empty when it could.
    health : str
        ``starting``, ``healthy``, ``unhealthy``; empty when it has no health check.
    health_output : str
        The last line of its last health check.
    failures : int
        How many health checks in a row have failed; Docker calls it healthy until there are many.
    restarts : int
        How often Docker has restarted it.
    started : datetime, optional
        When it was last started; None before the first time.
    volumes : tuple of str
        The folders in it that are volumes.
    """

    id: str
    service: str
    image: str
    status: str
    exit_code: int = 0
    error: str = ""
    health: str = ""
    health_output: str = ""
    failures: int = 0
    restarts: int = 0
    started: datetime | None = None
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True)
class View:
    """One service as a person looks at it.

    Parameters
    ----------
    service : str
    state : str
        ``building``, ``waiting``, ``created``, ``starting``, ``working`` (a one-shot), ``running``
        (without a health check), ``healthy``, ``failing`` (it was healthy), ``done``, ``stopped``,
        ``paused`` or ``failed``.
    detail : str
        What it waits for, or why it is not healthy.
    """

    service: str
    state: str
    detail: str = ""

    @property
    def ready(self) -> bool:
        """Whether nothing more is to come of it."""
        return self.state in ("healthy", "done", "running")


def containers_of(documents: Sequence[Mapping[str, Any]]) -> dict[str, Container]:
    """The container of each service, from what ``docker inspect`` says."""
    found = [_container(document) for document in documents]
    return {container.service: container for container in found}


def look(
    services: Sequence[str],
    containers: Mapping[str, Container],
    log_of: Callable[[str], str],
    building: Mapping[str, str] | None = None,
) -> tuple[View, ...]:
    """How each service is.

    Parameters
    ----------
    services : sequence of str
        In the order to show them.
    containers : mapping of str to Container
        As `containers_of` gives them.
    log_of : callable
        Given the id of a container that has failed, the last line of its log.
    building : mapping of str to str, optional
        Services whose images are being made, and how far that is.

    Returns
    -------
    tuple of View
    """
    views: dict[str, View] = {}
    for name in in_order(services):
        if building is not None and name in building:
            views[name] = View(name, "building", building[name])
            continue
        waits_for = SERVICES[name].waits_for if name in SERVICES else ()
        missing = [other for other in waits_for if other in views and not views[other].ready]
        views[name] = _view(name, containers.get(name), missing, log_of)
    return tuple(views[name] for name in services)


def in_order(services: Sequence[str]) -> list[str]:
    """Services with those first that others wait for; what is not ours comes last."""
    known = list(SERVICES)
    return sorted(services, key=lambda name: known.index(name) if name in known else len(known))


def failed(views: Sequence[View]) -> View | None:
    """The service that has failed, if one has: the one that others wait for first."""
    broken = {view.service: view for view in views if view.state == "failed"}
    return next((broken[name] for name in in_order(list(broken))), None)


def _view(name: str, container: Container | None, missing: Sequence[str], log_of: Callable[[str], str]) -> View:
    if container is not None and container.error:
        known = recognise(container.error)
        return View(name, "failed", known.message if known else container.error)
    if container is None or container.status == "created":
        if missing:
            return View(name, "waiting", f"for {', '.join(missing)}")
        return View(name, "created" if container else "waiting", "" if container else "to be created")
    if container.status == "running":
        return _running(name, container)
    if container.status == "restarting":
        state = "failed" if container.restarts >= MOST_RESTARTS else "starting"
        return View(name, state, f"starts again after: {_why(container, log_of)}")
    if container.status == "paused":
        return View(name, "paused", "docker unpause lets it go on")
    return _ended(name, container, log_of)


def _running(name: str, container: Container) -> View:
    if not container.health:
        return View(name, "working" if _one_shot(name) else "running")
    if container.health == "healthy":
        failing = container.failures >= _MOST_FAILURES
        return View(name, "failing", container.health_output) if failing else View(name, "healthy")
    state = "failed" if container.health == "unhealthy" else "starting"
    return View(name, state, container.health_output)


def _ended(name: str, container: Container, log_of: Callable[[str], str]) -> View:
    if not _one_shot(name):
        # Whatever its code: had it ended by itself, Docker would have started it again.
        return View(name, "stopped")
    return View(name, "done") if container.exit_code == 0 else View(name, "failed", _why(container, log_of))


def _one_shot(name: str) -> bool:
    return name in SERVICES and SERVICES[name].one_shot


def _why(container: Container, log_of: Callable[[str], str]) -> str:
    return log_of(container.id) or f"it ended with code {container.exit_code} and wrote nothing"


def _container(document: Mapping[str, Any]) -> Container:
    state = document["State"]
    health = state.get("Health") or {}
    checks = health.get("Log") or []
    return Container(
        id=document["Id"],
        service=document["Config"]["Labels"][SERVICE_LABEL],
        image=document["Config"]["Image"],
        status=state["Status"],
        exit_code=state.get("ExitCode", 0),
        error=last_line(state.get("Error", "")),
        health=health.get("Status", "").replace("none", ""),
        health_output=last_line(checks[-1].get("Output", "")) if checks else "",
        failures=health.get("FailingStreak", 0),
        restarts=document.get("RestartCount", 0),
        started=_moment(state.get("StartedAt", "")),
        volumes=tuple(mount["Destination"] for mount in document.get("Mounts", ()) if mount["Type"] == "volume"),
    )


def _moment(text: str) -> datetime | None:
    """Docker's moments have nanoseconds and a Z; year 1 stands for never."""
    match = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,6})?", text)
    if match is None or text.startswith("0001"):
        return None
    return datetime.fromisoformat(f"{match[1]}{(match[2] or '.0').ljust(7, '0')}").replace(tzinfo=UTC)
