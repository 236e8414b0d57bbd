"""Whether this machine can run the stack: ports, memory and disk, looked at before anything is started."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taxiway.errors import MachineError
from taxiway.progress import Progress
from taxiway.spark import available_memory
from taxiway.stack.docker import PROJECT_LABEL, Docker
from taxiway.stack.faults import port_taken

COMFORTABLE_MEMORY = 4_000_000_000
LEAST_MEMORY = 1_500_000_000
"""Bytes: the whole stack at rest holds less than 1 GiB, and one small Spark session as much again."""

COMFORTABLE_DISK = 10_000_000_000
LEAST_DISK = 2_000_000_000
_MEMORY_REMEDY = "close other programs, or give Docker more memory"
_DISK_REMEDY = "free some space; docker system df shows what takes it"


def check_ports(docker: Docker) -> None:
    """Refuse to start when somebody else holds a port of the stack.

    Raises
    ------
    UsageError
        Which port, who holds it as far as Docker knows, and what to set.
    """
    for port, variable in ports_of(docker).items():
        if _is_free(port):
            continue
        holders = _publishing(docker, port)
        if any(labels == docker.stack.project for labels in holders.values()):
            continue
        raise port_taken(port, f"the container {next(iter(holders))}" if holders else "another program", variable)


def ports_of(docker: Docker) -> dict[int, str]:
    """The ports of 127.0.0.1 that the stack publishes, each with the variable that changes it."""
    stack = docker.stack
    ports = {stack.jupyter_port: "STACK_JUPYTER_PORT", stack.mlflow_port: "STACK_MLFLOW_PORT"}
    if stack.s3 == "minio":
        ports[stack.console_port] = "STACK_MINIO_CONSOLE_PORT"
    return ports


def check_resources(docker: Docker, watch: Progress) -> None:
    """Tell when memory or disk is short, and refuse to start when nothing would come of it.

    Raises
    ------
    MachineError
        There is less than the stack can start with.
    """
    info: Mapping[str, Any] = json.loads(docker.run("info", "--format={{json .}}"))
    # Docker may live in a virtual machine (macOS, Windows), which has less than this one.
    free = available_memory()
    judge(watch, "memory", min(free, info.get("MemTotal") or free), (COMFORTABLE_MEMORY, LEAST_MEMORY), _MEMORY_REMEDY)
    root = str(info.get("DockerRootDir") or "")
    disk = free_disk(root)
    if disk is not None:
        judge(watch, f"disk under {root}", disk, (COMFORTABLE_DISK, LEAST_DISK), _DISK_REMEDY)


def judge(watch: Progress, what: str, free: int, bounds: tuple[int, int], remedy: str) -> None:
    """Tell when something is short, and refuse when it is too short.

    Parameters
    ----------
    watch : Progress
    what : str
        Of what there is so little.
    free : int
        Bytes.
    bounds : tuple of int
        Bytes that are comfortable, and the least that anything comes of.
    remedy : str

    Raises
    ------
    MachineError
        There is less than the least.
    """
    comfortable, least = bounds
    short = f"Only {free / 1e9:.1f} GB of {what} are free"
    if free < least:
        raise MachineError(f"{short}; the stack needs {least / 1e9:.1f} GB to start", remedy[0].upper() + remedy[1:])
    if free < comfortable:
        watch.note(f"{short}, and {comfortable / 1e9:.0f} GB are comfortable: {remedy}.")


def free_disk(root: str) -> int | None:
    """Bytes that are free where Docker keeps its data; None when that is not on this machine."""
    try:
        return shutil.disk_usage(Path(root)).free if root else None
    except OSError:
        return None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As Docker does: a port that was left a moment ago may be taken again.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            return True  # below 1024: Docker may, where we may not
        except OSError:
            return False
    return True


def _publishing(docker: Docker, port: int) -> dict[str, str]:
    """Names of the containers that publish a port, each with the project that it belongs to."""
    shape = f'--format={{{{.Names}}}}\t{{{{.Label "{PROJECT_LABEL}"}}}}'
    lines = docker.run("ps", f"--filter=publish={port}", shape).splitlines()
    return {name: project for name, _, project in (line.partition("\t") for line in lines)}
