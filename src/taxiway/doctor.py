"""Whether this machine has everything that Taxiway needs, one finding for each thing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from taxiway.errors import TaxiwayError
from taxiway.java import find_java
from taxiway.launch import passed_over, spark_folder
from taxiway.reach import check_database, is_server
from taxiway.settings import Settings
from taxiway.sharing import on_cluster
from taxiway.spark import LEAST_MEMORY, available_memory, check_java_starts
from taxiway.store import address, check_embedded_store, server_version

LEAST_DISK = 5_000_000_000
"""Bytes under the home that a year of trips, Java and a few sweeps fill."""

_PATIENCE = 8.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    name : str
        What it is.
    ok : bool
    detail : str
        What was found.
    next_step : str
        What to do about it; empty when nothing has to be done.
    """

    name: str
    ok: bool
    detail: str
    next_step: str = ""


def diagnose(settings: Settings) -> tuple[Finding, ...]:
    """Look at everything that Taxiway needs. Takes no more than ten seconds.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    tuple of Finding
        Home, Java, memory, disk, tracking and trips, in this order.
    """
    checks: dict[str, Callable[[], Finding]] = {
        "home": partial(_check_home, settings),
        "java": partial(_check_java, settings),
        "memory": _check_memory,
        "disk": partial(_check_disk, settings),
        "tracking": partial(_check_tracking, settings),
        "trips": partial(_check_trips, settings),
    }
    pool = ThreadPoolExecutor(len(checks))
    futures = {name: pool.submit(_guard, name, check) for name, check in checks.items()}
    done, _ = wait(futures.values(), _PATIENCE)
    pool.shutdown(wait=False)
    return tuple(future.result() if future in done else _silent(name) for name, future in futures.items())


def _guard(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except TaxiwayError as error:
        return Finding(name, False, error.message, error.remedy)
    except (OSError, RuntimeError, ValueError) as error:  # reported, so that the rest is reported too
        return Finding(name, False, f"{type(error).__name__}: {error}", "Run it again with --verbose")


def _silent(name: str) -> Finding:
    return Finding(name, False, f"No answer within {_PATIENCE:.0f} seconds", "Look at the network, and try again")


def _check_home(settings: Settings) -> Finding:
    home = settings.home
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home) as file:
            file.write(b"taxiway")
    except OSError as error:
        return Finding(
            "home", False, f"{home} cannot be written: {error.strerror}", "Set TAXIWAY_HOME to a folder of your own"
        )
    return Finding("home", True, f"{home} can be written")


def _check_java(settings: Settings) -> Finding:
    java = find_java(settings)
    heap = check_java_starts(settings, java, _PATIENCE - 1)
    notes = list(java.passed_over)
    # Set with a purpose, but not with ours: whoever wonders why nothing changes finds it here.
    if unread := passed_over(os.environ, spark_folder(), local=not on_cluster(settings)):
        notes.append(f"not used: {', '.join(unread)}")
    return Finding(
        "java", True, "; ".join([f"Java {java.version} in {java.home} starts with a heap of {heap}", *notes])
    )


def _check_memory() -> Finding:
    import psutil

    free, total = available_memory(), psutil.virtual_memory().total
    detail = f"{free / 1e9:.1f} GB free of {total / 1e9:.1f} GB{_container_limit()}"
    if free < LEAST_MEMORY:
        return Finding("memory", False, f"{detail}; Spark needs {LEAST_MEMORY / 1e9:.1f} GB", "Close other programs")
    return Finding("memory", True, detail)


def _container_limit() -> str:
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):
        return ""
    return f", this container may use {limit / 1e9:.1f} GB"


def _check_disk(settings: Settings) -> Finding:
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:.1f} GB free under {settings.home}"
    if free < LEAST_DISK:
        need = f"{detail}; {LEAST_DISK / 1e9:.0f} GB are comfortable"
        return Finding("disk", False, need, "Free some space, or set TAXIWAY_HOME to another disk")
    return Finding("disk", True, detail)


def _check_tracking(settings: Settings) -> Finding:
    place = address(settings)
    if is_server(settings.tracking_uri):
        return Finding("tracking", True, f"MLflow {server_version(settings)} at {place}")
    if settings.embedded_store:
        made = check_embedded_store(settings, _PATIENCE / 2)
        state = "" if made else ", made on first use"
        return Finding("tracking", True, f"MLflow {server_version(settings)} without a server, {place}{state}")
    check_database(settings.tracking_uri)
    return Finding("tracking", True, f"MLflow {server_version(settings)} on {place}")


def _check_trips(settings: Settings) -> Finding:
    from taxiway.trips.source import check_source

    return Finding("trips", True, check_source(settings))
