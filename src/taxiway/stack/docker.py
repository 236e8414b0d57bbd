"""Docker and Compose, found on this machine and set on one stack: every command that leaves Taxiway for them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from taxiway.errors import MachineError, NotFound, Refused, Unreachable, UsageError
from taxiway.settings import Settings
from taxiway.stack.faults import explain, explain_daemon, last_line
from taxiway.stack_settings import StackSettings

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
# Compose v2 puts the labels of project and service on the images that it builds as well, and every container
# that anybody makes of one inherits them. This one only a container of Compose's own has (seen in 2.40).
_OF_COMPOSE = "com.docker.compose.oneoff"
PATIENCE = 60.0
"""Seconds that Docker has for an answer; what takes longer is begun with `Docker.begin`."""

_TAKES_AWAY = (2, 24)  # the first Compose whose files can take a service away (!reset)
_FILES = {"seaweedfs": (), "minio": ("compose.minio.yaml",), "external": ("compose.external-s3.yaml",)}


@dataclass(frozen=True)
class Docker:
    """Docker and Compose, set on one stack. Found by `find_docker`.

    Parameters
    ----------
    stack : StackSettings
    compose_command : tuple of str
        ``("docker", "compose")``, or the path of ``docker-compose``.
    compose_version : tuple of int
        ``(2, 40)``.
    profiles : tuple of str
        Parts of the compose files that are asked for beside the rest: ``cluster``.
    """

    stack: StackSettings
    compose_command: tuple[str, ...]
    compose_version: tuple[int, int]
    profiles: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The label of everything that belongs to this stack and to nothing else."""
        return f"{PROJECT_LABEL}={self.stack.project}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of Docker and Compose: the user's own, with this stack's choices; no secret."""
        stack = self.stack
        files = ("compose.yaml", *_FILES[stack.s3], *filter(None, [stack.override]))
        return {
            **os.environ,
            **({"COMPOSE_PROFILES": ",".join(self.profiles)} if self.profiles else {}),
            "COMPOSE_FILE": ":".join(files),
            "COMPOSE_PATH_SEPARATOR": ":",
            **stack.choices,
            "STACK_SECRETS": str(stack.secrets),
            # Into a file, and so line by line.
            "BUILDKIT_PROGRESS": "plain",
        }

    def run(self, *arguments: str, stdin: bytes | None = None, patience: float = PATIENCE) -> str:
        """What ``docker …`` answers.

        Raises
        ------
        TaxiwayError
            It fails, or does not answer in time.
        """
        return self._ask(("docker", *arguments), arguments[0], stdin, patience)

    def compose(self, *arguments: str, stdin: bytes | None = None, patience: float = PATIENCE) -> str:
        """What Compose answers about this stack.

        Raises
        ------
        TaxiwayError
            It fails, or does not answer in time.
        """
        return self._ask((*self.compose_command, *arguments), arguments[0], stdin, patience)

    def execute(self, service: str, *command: str, stdin: bytes | None = None, patience: float = PATIENCE) -> str:
        """What a program in the running container of a service writes to its standard output.

        Raises
        ------
        NotFound
            The service does not run.
        TaxiwayError
            The program fails, or does not end in time.
        """
        arguments = ("exec", *(("--interactive",) if stdin is not None else ()), self.container_of(service), *command)
        return self._ask(("docker", *arguments), f"run {command[0]} in {service}", stdin, patience)

    def container_of(self, service: str) -> str:
        """The id of the running container of a service.

        Raises
        ------
        NotFound
            It does not run.
        """
        found = self.ps("{{.ID}}", "--no-trunc", f"--filter=label={SERVICE_LABEL}={service}")
        if not found:
            raise NotFound(f"The service {service} of the stack does not run", "Start it: taxiway stack up")
        return found[0]

    def ps(self, shape: str, *words: str, beside: bool = False) -> list[str]:
        """One line for each running container of this stack's services.

        Parameters
        ----------
        shape : str
            A template of Docker's.
        *words : str
            More options of ``docker ps``, ``--all`` for those that do not run too.
        beside : bool
            Those too that ``compose run`` made beside the services.
        """
        filters = [f"--filter=label={self.label}", f"--filter=label={_OF_COMPOSE}{'' if beside else '=False'}"]
        lines = self.run("ps", f"--format={shape}", *filters, *words).splitlines()
        return [line for line in lines if line]

    def containers(self) -> list[dict[str, Any]]:
        """Everything that Docker knows of the containers of this stack's services, stopped ones too."""
        ids = self.ps("{{.ID}}", "--all", "--no-trunc")
        if not ids:
            return []
        done = self._call(("docker", "inspect", "--type=container", *ids), None, PATIENCE)
        # One that went away between the two questions fails the second one, which answers for the others.
        documents: list[dict[str, Any]] = json.loads(done.stdout or b"[]")
        return documents

    def names(self, kind: str) -> list[str]:
        """The names of this stack's volumes or networks.

        Parameters
        ----------
        kind : str
            ``volume`` or ``network``.
        """
        return self.run(kind, "ls", "--format={{.Name}}", f"--filter=label={self.label}").split()

    def services(self) -> tuple[str, ...]:
        """The services of the compose files, those of a profile only where it is switched on."""
        names = self.compose("config", "--services").split()
        if self.compose_version >= (2, 0):
            return tuple(names)
        # Compose 1.29 lists those of every profile.
        config, asked = self.compose("config"), self.environment.get("COMPOSE_PROFILES", "").split(",")
        return tuple(name for name in names if not (of := profiles_of(config, name)) or of & set(asked))

    def image_of(self, service: str) -> str:
        """The image that a service is to run, as the compose files name it; empty when there is no such service."""
        found = re.search(r"^    image: (\S+)", _section(self.compose("config"), service), re.MULTILINE)
        return found[1] if found else ""

    def last_log_line(self, container: str) -> str:
        """The last line that a container wrote; empty when it wrote none."""
        done = self._call(("docker", "logs", "--tail=20", container), None, PATIENCE)
        # Standard error last: what a program complains of stands there.
        return last_line(f"{done.stdout.decode(errors='replace')}\n{done.stderr.decode(errors='replace')}")

    @contextmanager
    def begin(self, *arguments: str, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
        """Run Compose beside the block, its output in a file; it has ended when the block is left.

        Ctrl-C reaches Taxiway alone, which then asks Compose to stop.
        """
        process = subprocess.Popen(
            [*self.compose_command, *arguments],
            cwd=self.stack.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _stop(process)

    def stream(self, *arguments: str) -> Iterator[str]:
        """What Compose writes, line by line, for as long as it runs; closing the iterator ends it.

        Raises
        ------
        TaxiwayError
            Compose fails.
        """
        last: deque[str] = deque(maxlen=20)
        with subprocess.Popen(
            [*self.compose_command, *arguments],
            cwd=self.stack.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                for line in process.stdout or ():
                    last.append(line.decode(errors="replace").rstrip("\n"))
                    yield last[-1]
                process.wait()
            finally:
                _stop(process)
        if process.returncode:
            raise explain("\n".join(last), arguments[0])

    def _ask(self, command: tuple[str, ...], what: str, stdin: bytes | None, patience: float) -> str:
        done = self._call(command, stdin, patience)
        if done.returncode:
            raise explain(f"{done.stdout.decode(errors='replace')}\n{done.stderr.decode(errors='replace')}", what)
        return done.stdout.decode(errors="replace")

    def _call(
        self, command: tuple[str, ...], stdin: bytes | None, patience: float
    ) -> subprocess.CompletedProcess[bytes]:
        return _call(command, patience, stdin=stdin, cwd=self.stack.folder, env=self.environment)


def find_docker(settings: Settings) -> Docker:
    """Docker and Compose of this machine, set on the stack of the settings.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    Docker

    Raises
    ------
    NotFound
        There is no stack where the settings look for one.
    MachineError
        There is no Docker or no Compose, or Docker does not answer or does not let this user in.
    UsageError
        The S3 endpoint is elsewhere, and Compose is too old for that.
    """
    stack = find_stack(settings)
    if shutil.which("docker") is None:
        raise MachineError(
            "There is no Docker on this machine: no command docker on the PATH",
            "Install Docker Engine or Docker Desktop; everything but taxiway stack works without",
        )
    asked = _call(("docker", "version", "--format={{.Server.Version}}"), PATIENCE)
    if asked.returncode:
        text = asked.stderr.decode(errors="replace")
        raise explain_daemon(text) or MachineError(f"Docker does not answer: {last_line(text)}", "Start it")
    command, version = _find_compose()
    if stack.s3 == "external" and version < _TAKES_AWAY:
        raise UsageError(
            f"An S3 endpoint elsewhere needs Compose 2.24 or later, and this is {version[0]}.{version[1]}",
            "Install the package docker-compose-plugin",
        )
    return Docker(stack, command, version)


def find_stack(settings: Settings) -> StackSettings:
    """The stack that the settings name.

    Raises
    ------
    NotFound
        There is none.
    Refused
        The secrets that go with it are another stack's.
    """
    stack = settings.stack
    if stack is None or not stack.exists:
        where = f"{stack.folder} holds no container stack of Taxiway" if stack else "No container stack is near by"
        raise NotFound(where, "Get a checkout of Taxiway, and name its folder with --stack or TAXIWAY_STACK")
    if stack.owner not in ("", stack.project):
        raise Refused(
            f"The secrets in {stack.secrets} are of the stack {stack.owner}, and not of {stack.project}",
            f"Name the folder of {stack.project}'s own with STACK_SECRETS, or leave COMPOSE_PROJECT_NAME away",
        )
    return stack


def parse_lines(text: str) -> list[dict[str, Any]]:
    """What ``--format json`` writes: one document a line, or one list of them."""
    stripped = text.strip()
    if stripped.startswith("["):
        return list(json.loads(stripped))
    return [json.loads(line) for line in stripped.splitlines() if line.strip()]


def profiles_of(config: str, service: str) -> set[str]:
    """The profiles of a service, from what ``compose config`` writes."""
    found = re.search(r"^    profiles:\n((?: +- .*\n)+)", _section(config, service), re.MULTILINE)
    return set(re.findall(r"- (\S+)", found[1])) if found else set()


def _section(config: str, service: str) -> str:
    found = re.search(rf"^  {re.escape(service)}:\n((?:    .*\n)*)", config, re.MULTILINE)
    return found[1] if found else ""


def _find_compose() -> tuple[tuple[str, ...], tuple[int, int]]:
    for command in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(command[0]) is None:
            continue
        done = _call((*command, "version", "--short"), PATIENCE)
        found = re.search(r"(\d+)\.(\d+)", done.stdout.decode(errors="replace"))
        if done.returncode == 0 and found:
            return command, (int(found[1]), int(found[2]))
    raise MachineError("Docker has no Compose on this machine", "Install its package docker-compose-plugin")


def _call(
    command: tuple[str, ...], patience: float, stdin: bytes | None = None, cwd: Path | None = None, env: Any = None
) -> subprocess.CompletedProcess[bytes]:
    feed: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    try:
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, timeout=patience, check=False, **feed)
    except subprocess.TimeoutExpired as error:
        raise Unreachable(
            f"{' '.join(command[:3])} does not answer within {patience:.0f} seconds", "Look at Docker, and try again"
        ) from error
    except OSError as error:
        raise MachineError(f"{command[0]} cannot be run: {error.strerror}", "Install Docker anew") from error


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        # Compose waits for what it has asked Docker for.
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
