"""How the stack is: each service's health, or why not, its version, its data and its memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from taxiway.errors import TaxiwayError
from taxiway.parallel import side_by_side
from taxiway.settings import Settings
from taxiway.stack.databases import unfinished_restore
from taxiway.stack.docker import Docker, find_docker, parse_lines
from taxiway.stack.lifecycle import with_cluster
from taxiway.stack.services import SERVICES, Container, containers_of, in_order, look
from taxiway.stack_settings import StackSettings

_UNITS = {"": 1, "k": 1000, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}
_BINARY = {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4}
_ASKING = 20.0


@dataclass(frozen=True)
class ServiceStatus:
    """One service.

    Parameters
    ----------
    service, what : str
        Its name, and what it is.
    state, detail : str
        As in `taxiway.stack.services.View`.
    ready : bool
        Whether it is healthy, or done.
    image : str
        Its image with the tag; empty when it has no container.
    version : str
        What its program says; empty when it does not run, or says nothing.
    data_bytes, memory_bytes : int, optional
        What it keeps in its volumes and holds in memory; None when it does not run or keeps nothing.
    """

    service: str
    what: str
    state: str
    detail: str
    ready: bool
    image: str = ""
    version: str = ""
    data_bytes: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class StackStatus:
    """The whole stack.

    Parameters
    ----------
    stack : StackSettings
    services : tuple of ServiceStatus
        Those first that others wait for.
    notes : tuple of str
        What was begun and did not end, one sentence each without a full stop.
    """

    stack: StackSettings
    services: tuple[ServiceStatus, ...]
    notes: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether every service is."""
        return all(service.ready for service in self.services)

    @property
    def running(self) -> bool:
        """Whether any service has been started and not stopped."""
        return any(service.state not in ("waiting", "created", "stopped", "done") for service in self.services)


def status(settings: Settings) -> StackStatus:
    """Ask every service how it is. Takes a few seconds: Docker measures memory for as long.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    StackStatus

    Raises
    ------
    NotFound
        There is no stack.
    MachineError
        Docker or Compose is missing or does not answer.
    """
    docker = with_cluster(find_docker(settings))
    services = in_order(docker.services())
    containers = containers_of(docker.containers())
    running = {name: item for name, item in containers.items() if item.status == "running"}
    memory = _memory(docker, running)
    asked = side_by_side(lambda item: (version_of(docker, item), _data(docker, item)), running.values(), threads=4)
    facts = dict(zip(running, asked, strict=True))
    rows = []
    for view in look(services, containers, docker.last_log_line):
        version, data = facts.get(view.service, ("", None))
        row = ServiceStatus(
            view.service,
            SERVICES[view.service].what if view.service in SERVICES else "",
            view.state,
            view.detail,
            view.ready,
            containers[view.service].image if view.service in containers else "",
            version,
            data,
            memory.get(view.service),
        )
        rows.append(row)
    unfinished = unfinished_restore(docker) if "db" in running else ""
    return StackStatus(docker.stack, tuple(rows), (unfinished,) if unfinished else ())


def parse_size(text: str) -> int | None:
    """Bytes, from the way that Docker writes sizes; None when it is no size.

    Examples
    --------
    >>> parse_size("377.1MiB"), parse_size("1.2GB"), parse_size("0B"), parse_size("N/A")
    (395418009, 1200000000, 0, None)
    """
    match = re.fullmatch(r"([\d.]+)\s*([kKMGT]?i?)B", text.strip())
    return int(float(match[1]) * (_BINARY.get(match[2]) or _UNITS[match[2]])) if match else None


def version_of(docker: Docker, container: Container) -> str:
    """What the program in a running container says that it is; empty when it says nothing."""
    command = SERVICES[container.service].version if container.service in SERVICES else ()
    if not command:
        return ""
    try:
        said = docker.run("exec", container.id, *command, patience=_ASKING)
    except TaxiwayError:
        # A service that is not well may not be able to say; its health says why.
        return ""
    found = re.search(r"\d+\.\d+(?:\.\d+)*|RELEASE\.[\w-]+", said)
    return found[0] if found else ""


def mlflow_version(docker: Docker) -> str:
    """The version of MLflow that the stack runs; empty while its server does not run."""
    server = containers_of(docker.containers()).get("mlflow_server")
    return version_of(docker, server) if server is not None and server.status == "running" else ""


def _memory(docker: Docker, running: Mapping[str, Container]) -> dict[str, int]:
    if not running:
        return {}
    ids = {item.id: name for name, item in running.items()}
    lines = parse_lines(docker.run("stats", "--no-stream", "--no-trunc", "--format={{json .}}", *ids))
    sizes = {ids.get(line["ID"], ""): parse_size(line["MemUsage"].partition("/")[0]) for line in lines}
    return {name: size for name, size in sizes.items() if name and size is not None}


def _data(docker: Docker, container: Container) -> int | None:
    if not container.volumes:
        return None
    try:
        # What goes away while it is counted makes du complain, and does not matter.
        said = docker.run(
            "exec", container.id, "sh", "-c", 'du -sk "$@" || true', "du", *container.volumes, patience=60
        )
    except TaxiwayError:
        return None
    return sum(int(number) * 1024 for number in re.findall(r"^(\d+)\t", said, re.MULTILINE))
