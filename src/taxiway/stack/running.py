"""Bring services up and watch them until each is healthy: every wait of the stack is here, and bounded."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from taxiway.errors import MachineError, Refused, TaxiwayError, Unreachable
from taxiway.locks import STACK, hold_home_lock
from taxiway.progress import Progress, Silent
from taxiway.settings import Settings
from taxiway.stack.building import BuildLog
from taxiway.stack.docker import Docker
from taxiway.stack.faults import explain, last_line, recognise
from taxiway.stack.services import MOST_RESTARTS, SERVICES, Container, View, containers_of, failed, in_order, look

LOG_FILE = "stack.log"
PATIENCE = 1800.0
"""Seconds for images and services together: a first build takes minutes, and a slow network longer."""

_BETWEEN = 0.5


class Watch(Progress, Protocol):
    """Who watches the services; the command line draws them."""

    def show(self, views: Sequence[View]) -> None:
        """Show how the services are now."""


class Unwatched(Silent):
    """The watch that nobody keeps."""

    def show(self, views: Sequence[View]) -> None:
        """Ignore it."""


@contextmanager
def changing(settings: Settings) -> Iterator[None]:
    """Be the only command of this home that changes the stack while the block runs.

    Raises
    ------
    Refused
        Another one is at it.
    MachineError
        The home cannot be written.
    """
    with hold_home_lock(
        settings, STACK, lambda: Refused("Another command is changing the stack", "Wait for it to end and try again")
    ):
        yield


class Job:
    """One command's work on the stack: what Compose writes goes to a log file, and somebody watches.

    Parameters
    ----------
    docker : Docker
    settings : Settings
        The log lies under their home.
    watch : Watch, optional
    patience : float
        Seconds for all of it.
    """

    def __init__(self, docker: Docker, settings: Settings, watch: Watch | None, patience: float = PATIENCE) -> None:
        self.docker = docker
        self.watch: Watch = watch or Unwatched()
        self.log = settings.home / "logs" / LOG_FILE
        self._end = time.monotonic() + patience
        self._minutes = patience / 60
        self._begun = datetime.now(UTC)
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self.log.write_bytes(b"")
        except OSError as error:
            raise MachineError(f"{self.log} cannot be written: {error.strerror}", "Set TAXIWAY_HOME") from error

    def build(self) -> None:
        """Make the images that have changed.

        Raises
        ------
        TaxiwayError
            One cannot be made or had.
        """
        self._compose("build", what="build the images")

    def start(self, *services: str) -> tuple[View, ...]:
        """Start services, or all, with what they wait for, and wait until each is healthy.

        Returns
        -------
        tuple of View

        Raises
        ------
        Unreachable
            One has failed, or is not healthy in time.
        """
        # One that is unhealthy, or runs with a secret that has been changed, is started anew. Compose
        # would let it run, and wait for it in vain.
        tired = [item.service for item in self.containers().values() if self._needs_restart(item)]
        if tired:
            self._compose("stop", *tired, what=f"stop {', '.join(tired)}")
        self._compose("up", "--detach", "--remove-orphans", *services, what="start the services")
        return self._await_health(services or self.docker.services())

    def resume(self, *services: str) -> tuple[View, ...]:
        """Start containers as they are, and wait until each is healthy.

        Compose would start others too, or make them anew where an image has changed since.

        Raises
        ------
        Unreachable
            One has failed, or is not healthy in time.
        """
        there = self.containers()
        missing = [service for service in services if service not in there]
        if missing:
            return self.start(*services)
        self.docker.run("start", *(there[service].id for service in services))
        return self._await_health(services)

    def containers(self) -> dict[str, Container]:
        """The container of each service, as it is now."""
        return containers_of(self.docker.containers())

    def _needs_restart(self, container: Container) -> bool:
        if container.status == "restarting" or container.health == "unhealthy":
            return True
        return container.status == "running" and is_outdated(container, self.docker.stack.secrets)

    def _compose(self, *words: str, what: str) -> None:
        services = in_order(self.docker.services())
        with self.log.open("ab") as stream:
            stream.write(f"$ compose {' '.join(words)}\n".encode())
            stream.flush()
            place = stream.tell()
            build = BuildLog(self.log, place)
            with self.docker.begin(*words, log=stream) as process:
                while process.poll() is None:
                    self._glance(services, build.read())
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(_BETWEEN)
        if process.returncode:
            raise self._fault(services, place, what)

    def _glance(self, services: Sequence[str], building: Mapping[str, str]) -> None:
        containers = {name: self._of_now(container) for name, container in self.containers().items()}
        # Not every builder says that an image is there; a container that has been started since does.
        fresh = {name for name, item in containers.items() if item.started and item.started >= self._begun}
        unbuilt = {name: how for name, how in building.items() if name not in fresh}
        views = look(services, containers, self.docker.last_log_line, unbuilt)
        self.watch.show(views)
        for view in views:
            container = containers.get(view.service)
            if container and container.status == "restarting" and container.restarts >= MOST_RESTARTS:
                raise _failure(view)
        if time.monotonic() > self._end:
            raise self._late(views)

    def _of_now(self, container: Container) -> Container:
        """What ended before this command began has nothing to say about how it goes."""
        ended = container.status in ("exited", "dead")
        if ended and container.started is not None and container.started < self._begun:
            return replace(container, status="created", error="")
        return container

    def _await_health(self, services: Sequence[str]) -> tuple[View, ...]:
        shown = in_order(services)
        while True:
            views = look(shown, self.containers(), self.docker.last_log_line)
            self.watch.show(views)
            if all(view.ready for view in views):
                return views
            # One that is stopped now was stopped by somebody else.
            broken = failed(views) or next((view for view in views if view.state == "stopped"), None)
            if broken:
                raise _failure(broken)
            if time.monotonic() > self._end:
                raise self._late(views)
            time.sleep(
                _BETWEEN
            )  # between two looks: the last lines of logs are shown too, and Docker has no event for them

    def _fault(self, services: Sequence[str], place: int, what: str) -> TaxiwayError:
        with self.log.open("rb") as stream:
            stream.seek(place)
            output = stream.read().decode(errors="replace")
        broken = failed(look(services, self.containers(), self.docker.last_log_line))
        # What Compose says of a service that failed is that it failed; its own log says why.
        known = recognise(output, str(self.log), self.docker.image_of) or (_failure(broken) if broken else None)
        return known or explain(output, what, str(self.log))

    def _late(self, views: Sequence[View]) -> Unreachable:
        slow = [f"{view.service} is {view.state} {view.detail}".strip() for view in views if not view.ready]
        return Unreachable(
            f"The stack is not healthy after {self._minutes:.0f} minutes: {'; '.join(slow) or 'Compose does not end'}",
            f"See {self.log} and taxiway stack logs",
        )


def is_outdated(container: Container, secrets: Path) -> bool:
    """Whether a container runs with a secret that has been changed since it was started."""
    if container.started is None or container.service not in SERVICES:
        return False
    files = [secrets / name for name in SERVICES[container.service].secrets]
    newest = max((file.stat().st_mtime for file in files if file.exists()), default=0.0)
    return newest > container.started.timestamp()


def make_secrets(docker: Docker, name: str = "") -> None:
    """Make the secrets that are missing; or with a name, a new value beside the present one.

    Raises
    ------
    MachineError
        Their folder cannot be written.
    """
    command = ["sh", "images/secrets.sh", str(docker.stack.secrets), *filter(None, [name])]
    done = subprocess.run(command, cwd=docker.stack.folder, capture_output=True, check=False)
    if done.returncode:
        reason = last_line(done.stderr.decode(errors="replace"))
        raise MachineError(f"The stack's secrets cannot be made: {reason}", "Set STACK_SECRETS to a folder of your own")


def _failure(view: View) -> Unreachable:
    return Unreachable(
        f"The service {view.service} failed: {view.detail or view.state}", f"See taxiway stack logs {view.service}"
    )
