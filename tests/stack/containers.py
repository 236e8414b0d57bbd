"""The running stack as tests see it: its addresses, its secrets, its containers, and a way to break them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from mlflow import MlflowClient
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache
from object_stores import free_ports

from taxiway.settings import Settings, load_settings
from taxiway.store import connect

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
WORK = "/home/taxiway/work"
PYTHON = "/opt/venv/bin/python"
QUICK = ("train", "--recipe", f"{WORK}/quick.py", "--train", "yellow:2018-01", "--holdout", "yellow:2018-02")
"""What trains the recipe of `inside/quick.py` in JupyterLab."""

SERVICES = ("db", "s3", "mlflow_server", "jupyterlab_spark")
PORTS = ("jupyter_port", "mlflow_port", "console_port")
ACCOUNTS = ("admin", "taxiway", "reader")

Completed = subprocess.CompletedProcess[str]


@cache
def images() -> dict[str, str]:
    """What base.env says, or nothing on a machine that pulls images instead of making them."""
    if docker("image", "inspect", "taxiway-test/base", check=False).returncode:
        return {}
    lines = (HERE / "base.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def inside(script: str) -> str:
    """The text of a script that runs in a container."""
    return (HERE / "inside" / script).read_text(encoding="utf-8")


class Begun(subprocess.Popen[str]):
    """A command that runs in a container; ``end`` ends it there, where the end of ``docker exec`` would leave it."""

    def __init__(self, container: str, *command: str) -> None:
        self._container, self._number = container, f"/tmp/begun-{uuid4().hex}"  # noqa: S108  # in the container
        recorded = ("sh", "-c", 'echo $$ >"$0"; exec "$@"', self._number, *command)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        super().__init__(("docker", "exec", container, *recorded), text=True, **pipes)

    def end(self) -> None:
        if self.poll() is None:
            docker("exec", self._container, "sh", "-c", f"kill -KILL $(cat {self._number})", check=False)
            self.wait(60)


@dataclass(frozen=True)
class Stack:
    """A stack that was started as a user starts it, and everything that a test may ask of it.

    Parameters
    ----------
    project : str
        Compose's name for it.
    secrets : Path
        The folder of its secret files.
    home : Path
        TAXIWAY_HOME of the commands that run on this machine.
    s3 : str
        ``seaweedfs`` or ``minio``.
    jupyter_port, mlflow_port, console_port : int
        Ports of 127.0.0.1; the last one is MinIO's console.
    taxiway_command : str
        Path of the installed command.
    variables : mapping of str to str
        What the tests set on top of the environment; nothing but choices that a user has as well.
    rest : dict
        MiB that each container held at rest; empty when the stack was running before the tests.
    """

    project: str
    secrets: Path
    home: Path
    s3: str
    jupyter_port: int
    mlflow_port: int
    console_port: int
    taxiway_command: str
    variables: Mapping[str, str] = field(default_factory=dict)
    rest: dict[str, float] = field(default_factory=dict)

    @property
    def mlflow_url(self) -> str:
        return f"http://127.0.0.1:{self.mlflow_port}"

    @property
    def jupyter_url(self) -> str:
        return f"http://127.0.0.1:{self.jupyter_port}"

    @property
    def token(self) -> str:
        return self.secret("jupyter_token")

    @property
    def accounts(self) -> dict[str, str]:
        """MLflow's accounts and their passwords."""
        return {name: self.secret(f"mlflow_{name}_password") for name in ACCOUNTS}

    @property
    def environment(self) -> dict[str, str]:
        # MLflow's client in this process keeps the password of the stack that it asked last among its variables.
        foreign = ("COMPOSE_", "STACK_", "MLFLOW_")
        own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {
            **own,
            **images(),
            "COMPOSE_PROJECT_NAME": self.project,
            "STACK_SECRETS": str(self.secrets),
            "STACK_S3": self.s3,
            "STACK_JUPYTER_PORT": str(self.jupyter_port),
            "STACK_MLFLOW_PORT": str(self.mlflow_port),
            "STACK_MINIO_CONSOLE_PORT": str(self.console_port),
            "STACK_YES": "1",
            **self.variables,
        }

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text(encoding="utf-8")

    def shell(self, *words: str, timeout: float = 900, check: bool = True) -> Completed:
        """Run ``images/stack.sh`` with some words, as ``make`` does."""
        return run("sh", "images/stack.sh", *words, env=self.environment, timeout=timeout, check=check)

    def compose(
        self,
        *words: str,
        input: str | None = None,  # noqa: A002  # as subprocess calls it
        timeout: float = 300,
        check: bool = True,
    ) -> Completed:
        """Run a word of Compose on the stack's own files and choices."""
        command = ("sh", "images/stack.sh", "compose", *words)
        return run(*command, env=self.environment, input=input, timeout=timeout, check=check)

    def container(self, service: str) -> str:
        """The id of a service's container, running or not."""
        return self._containers(service)[0]

    def inspect(self, service: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(docker("inspect", self.container(service)).stdout)[0]
        return found

    def exec(
        self,
        service: str,
        *command: str,
        input: str | None = None,  # noqa: A002
        timeout: float = 300,
        check: bool = True,
    ) -> Completed:
        """Run a command in a service's container."""
        words = ("docker", "exec", "--interactive", self.container(service), *command)
        return run(*words, input=input, timeout=timeout, check=check)

    def begin(self, service: str, *command: str) -> Begun:
        """Start a command in a service's container and go on."""
        return Begun(self.container(service), *command)

    def python(self, service: str, script: str, *arguments: str, timeout: float = 120) -> Any:
        """Run a script of the folder `inside` in a service's container; what it prints, read as JSON."""
        return json.loads(self.exec(service, PYTHON, "-", *arguments, input=inside(script), timeout=timeout).stdout)

    def put(self, service: str, folder: str, files: Mapping[str, bytes | Path]) -> None:
        """Write files into a folder of a volume; `docker cp` refuses containers that are read-only."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, content in files.items():
                data = content.read_bytes() if isinstance(content, Path) else content
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode, entry.mtime = len(data), 0o644, time.time()
                tar.addfile(entry, io.BytesIO(data))
        self.exec(service, "mkdir", "-p", folder)
        words = ["docker", "exec", "--interactive", self.container(service), "tar", "-x", "-C", folder, "-f", "-"]
        subprocess.run(words, input=archive.getvalue(), check=True, capture_output=True, timeout=120)

    def health(self, service: str) -> str:
        state = self.inspect(service)["State"]
        return str(state["Health"]["Status"]) if state["Running"] else "stopped"

    def runs(self) -> bool:
        """Whether it was started and is healthy."""
        return all(self._containers(service) and self.health(service) == "healthy" for service in SERVICES)

    def wait_healthy(self, *services: str, within: float = 120) -> None:
        """Wait until services are healthy: all of them, unless some are named."""
        for service in services or SERVICES:
            await_condition(
                lambda name=service: self.health(name) == "healthy",
                f"{service} healthy",
                within,
                lambda name=service: self.logs(name),
            )

    def logs(self, *services: str) -> str:
        said = self.compose("logs", "--no-color", *services, check=False)
        return said.stdout + said.stderr

    def taxiway(self, *words: str, env: Mapping[str, str] | None = None, timeout: float = 300) -> Completed:
        """Run the installed command on this machine, with the profile of the stack."""
        environment = {
            **self.environment,
            "TAXIWAY_HOME": str(self.home),
            "TAXIWAY_PROFILE": "stack",
            "TAXIWAY_STACK": str(ROOT),
            **(env or {}),
        }
        self.home.mkdir(parents=True, exist_ok=True)
        return run(self.taxiway_command, *words, env=environment, cwd=self.home, timeout=timeout, check=False)

    def mlflow(self, path: str, account: str = "admin", **body: Any) -> dict[str, Any]:
        """Ask MLflow's REST API, by POST when there is a body."""
        method = "POST" if body else "GET"
        answer = requests.request(
            method,
            f"{self.mlflow_url}/api/2.0/mlflow/{path}",
            json=body or None,
            auth=(account, self.accounts[account]),
            timeout=30,
        )
        answer.raise_for_status()
        document: dict[str, Any] = answer.json()
        return document

    def settings(self) -> Settings:
        """Settings that name this stack, as the commands on this machine read them."""
        self.home.mkdir(parents=True, exist_ok=True)
        return load_settings({"profile": "stack", "stack": ROOT, "home": self.home}, self.environment, self.home)

    def client(self) -> MlflowClient:
        """A client that asks this stack for files too: MLflow keeps in mind where it had a model's, by its id."""
        _artifact_repos_cache.clear()
        return connect(self.settings())

    def kill(self, *services: str) -> None:
        """End services as a power cut would."""
        docker("kill", "--signal", "KILL", *(self.container(service) for service in services))

    def revive(self, *services: str) -> None:
        """Start what was killed or stopped, and wait until it is healthy."""
        docker("start", *(self.container(service) for service in services))
        self.wait_healthy(*services)

    def cut(self, service: str, network: str) -> Callable[[], None]:
        """Pull a service's plug out of a network; returns what puts it back in."""
        container, name = self.container(service), f"{self.project}_{network}"
        aliases = self.inspect(service)["NetworkSettings"]["Networks"][name]["Aliases"]
        docker("network", "disconnect", name, container)
        words = [word for alias in aliases for word in ("--alias", alias)]
        return lambda: void(docker("network", "connect", *words, name, container))

    def _containers(self, service: str) -> list[str]:
        labels = {"project": self.project, "service": service, "oneoff": "False"}
        filters = [
            word for key, value in labels.items() for word in ("--filter", f"label=com.docker.compose.{key}={value}")
        ]
        return docker("ps", "--all", "--quiet", "--no-trunc", *filters).stdout.split()


def another(stack: Stack, name: str, folder: Path, **changes: Any) -> Stack:
    """A second stack with its own passwords, volumes and ports; nothing of it runs, nothing is left from before."""
    own = {"secrets": folder / "secrets", "home": folder / "home", **dict(zip(PORTS, free_ports(3), strict=True))}
    found = replace(stack, project=f"{stack.project}-{name}", rest={}, **{**own, **changes})
    found.shell("clear")
    run("sh", "images/secrets.sh", str(found.secrets))
    return found


@contextmanager
def without_jupyterlab(stack: Stack) -> Iterator[Stack]:
    """The stack with all services but JupyterLab; it is gone at the end."""
    try:
        stack.compose("up", "--detach", "mlflow_server", timeout=600)
        stack.wait_healthy("db", "s3", "mlflow_server")
        yield stack
    finally:
        stack.shell("clear")


def run(
    *words: str,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    input: str | None = None,  # noqa: A002
    timeout: float = 300,
    check: bool = True,
) -> Completed:
    """Run a command; with `check`, what it said is the test's failure when it fails."""
    # Without an input of its own a command must not read the test runner's.
    stdin = subprocess.DEVNULL if input is None else None
    done = subprocess.run(
        words, env=env, cwd=cwd, input=input, stdin=stdin, capture_output=True, text=True, timeout=timeout, check=False
    )
    if check and done.returncode:
        pytest.fail(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}")
    return done


def docker(*words: str, check: bool = True, timeout: float = 120) -> Completed:
    return run("docker", *words, check=check, timeout=timeout)


def await_condition(
    condition: Callable[[], bool], what: str, within: float, explain: Callable[[], str] = lambda: ""
) -> None:
    """Wait until something is so; fail with an explanation when it does not come to be."""
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"not within {within:.0f} s: {what}\n{explain()[-8000:]}")
        time.sleep(0.1)  # between two questions: it happens in another process


def memory(containers: Iterable[str]) -> dict[str, float]:
    """MiB that each container holds, by its name; what the kernel can give back is not counted."""
    units = {"B": 2**-20, "KiB": 2**-10, "MiB": 1.0, "GiB": 2.0**10}
    lines = docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *containers).stdout.splitlines()
    found = {}
    for line in lines:
        name, used, *_ = line.split()
        number = used.rstrip("BKMGi")
        found[name] = float(number) * units[used[len(number) :]]
    return found


def void(_: object) -> None:
    """Forget a value."""
