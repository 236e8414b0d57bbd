"""A real Spark cluster on loopback, whose executors do not see this user's files, and Spark's client for S3."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pyspark
from filelock import FileLock
from object_stores import START, free_ports

from services import missing

JARS = Path(__file__).parents[2] / "images" / "jupyterlab_spark" / "jars"
SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"
LOOPBACK = "127.0.0.1"
PATIENCE = 120.0


def spark_s3_jars() -> list[Path]:
    """Spark's client for S3 as the image has it, fetched once for this user and checked each time."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "taxiway-tests" / "spark-s3"
    sums = dict(reversed(line.split()) for line in (JARS / "jars.sha256").read_text(encoding="utf-8").splitlines())
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "lock"):
        if not all(_has_sum(cache / name, known) for name, known in sums.items()):
            maven = shutil.which("mvn")
            if maven is None:
                missing("Spark's client for S3: install Maven (Debian: maven), which fetches it")
            command = [
                maven,
                "--batch-mode",
                "--quiet",
                "--file",
                str(JARS / "pom.xml"),
                "dependency:copy-dependencies",
            ]
            answer = subprocess.run(
                [*command, f"-DoutputDirectory={cache}"], capture_output=True, text=True, timeout=500, check=False
            )
            if answer.returncode:
                missing(f"Spark's client for S3: Maven cannot fetch it ({answer.stdout.strip()[-300:]})")
    assert all(_has_sum(cache / name, known) for name, known in sums.items())
    return [cache / name for name in sums]


def _has_sum(file: Path, known: str) -> bool:
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == known


@dataclass
class Standalone:
    """A master and workers, each a process of its own.

    Parameters
    ----------
    folder : Path
        What workers write into.
    environment : mapping of str to str
        What workers know beside this process's own variables.
    """

    folder: Path
    environment: Mapping[str, str]
    user: dict[str, Any] = field(default_factory=dict)
    port: int = 0
    pages: int = 0
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def master(self) -> str:
        return f"spark://{LOOPBACK}:{self.port}"

    def start_master(self) -> None:
        self.port, self.pages = free_ports(2)
        options = ["--host", LOOPBACK, "--port", str(self.port), "--webui-port", str(self.pages)]
        self._start("master", "org.apache.spark.deploy.master.Master", *options)
        self._await(lambda: self.state()["status"] == "ALIVE", "a master")

    def start_worker(self, name: str) -> None:
        (pages,) = free_ports(1)
        options = ["--host", LOOPBACK, "--webui-port", str(pages), "--cores", "1", "--memory", "1g"]
        options += ["--work-dir", str(self.folder / name), self.master]
        before = self.state()["aliveworkers"]
        self._start(name, "org.apache.spark.deploy.worker.Worker", *options)
        self._await(lambda: self.state()["aliveworkers"] > before, name)

    def kill(self, name: str) -> None:
        """End a process and what it has started, as a power cut would."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)

    def executors(self) -> int:
        """Workers that have given memory to somebody."""
        return sum(worker["memoryused"] > 0 for worker in self.state()["workers"] if worker["state"] == "ALIVE")

    def state(self) -> dict[str, Any]:
        with urlopen(f"http://{LOOPBACK}:{self.pages}/json/", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def _start(self, name: str, main: str, *options: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            # A session of its own, so that executors can be ended with their worker.
            self.processes[name] = subprocess.Popen(
                [str(SPARK_CLASS), main, *options],
                cwd=self.folder,
                env={**os.environ, **self.environment, "SPARK_LOCAL_DIRS": str(self.folder / f"{name}-local")},
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self.user,
            )

    def _await(self, condition: Any, what: str) -> None:
        end = time.monotonic() + START
        while time.monotonic() < end:
            try:
                if condition():
                    return
            except (URLError, ConnectionError):
                pass
            time.sleep(0.1)  # between two questions: a JVM is starting
        raise AssertionError(f"{what} did not start; see {self.folder}")


@contextmanager
def standalone_cluster(folder: Path, java_home: str, environment: Mapping[str, str]) -> Iterator[Standalone]:
    """Run a master and two workers of one core each, as a user who cannot read ours where there is one.

    Parameters
    ----------
    folder : Path
        Made for the workers, in a place that every user gets to.
    java_home : str
    environment : mapping of str to str
        What executors need to know: where the key for S3 lies.
    """
    user = _other_user(Path(java_home) / "bin" / "java")
    cluster = Standalone(folder, {"JAVA_HOME": java_home, **environment}, user)
    folder.chmod(0o777)
    try:
        cluster.start_master()
        for name in ("worker-1", "worker-2"):
            cluster.start_worker(name)
        yield cluster
    finally:
        for name in list(cluster.processes):
            cluster.kill(name)


def _other_user(java: Path) -> dict[str, Any]:
    """Nobody, if we may become nobody and nobody may run Java and Spark."""
    other: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    if os.geteuid() != 0:
        return {}
    try:
        for command in ([str(java), "-version"], ["test", "-r", str(SPARK_CLASS)]):
            subprocess.run(command, check=True, capture_output=True, timeout=60, **other)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return other
