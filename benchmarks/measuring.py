"""What every measurement needs: a command's time, the machine, the trips, and a verdict that stays honest."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

PASSED, MISSED = "PASSED", "MISSED"
TAXIWAY = Path(sys.executable).with_name("taxiway")
_TAIL = 30


@dataclass(frozen=True)
class Run:
    """One command that ran to its end.

    Parameters
    ----------
    seconds : float
        From the start of the process to its end.
    load, load_after : float
        The machine's load of the last minute when it started, and when it had ended.
    """

    seconds: float
    load: float
    load_after: float


def run_timed(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str], log: Path) -> Run:
    """Run a command that must succeed; what it writes goes to a log, whose end is shown if it fails."""
    load = os.getloadavg()[0]
    with log.open("wb") as stream:
        began = perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, stdout=stream, stderr=stream, check=False)
        seconds = perf_counter() - began
    if done.returncode != 0:
        fail(f"{' '.join(map(str, command[:3]))} … ended with {done.returncode}", log)
    return Run(seconds, load, os.getloadavg()[0])


def fail(message: str, log: Path) -> None:
    """End the measurement with the last lines of a log, the frames of Java's stack left out."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if not line.lstrip().startswith("at ")]
    sys.exit("\n".join([*lines[-_TAIL:], message]))


def stop_cleanly() -> None:
    """Let a request to terminate end this process as Ctrl-C does: servers and temporary files go with it."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without settings of the caller's own, so that two machines measure the same."""
    ours = ("TAXIWAY_", "MLFLOW_", "SPARK_", "PYSPARK_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    # MLflow reports its use over the network unless told not to, on both sides alike.
    return {**kept, "MLFLOW_DISABLE_TELEMETRY": "true", **more}


def trips_folder(option: Path | None) -> Path | None:
    """The folder of real trips: the option, or TAXIWAY_TEST_TRIPS; None where neither is set."""
    named = option or (Path(found) if (found := os.environ.get("TAXIWAY_TEST_TRIPS")) else None)
    if named is not None and not named.is_dir():
        sys.exit(f"{named} is not a folder of trips")
    return named.absolute() if named else None


def middle(runs: Sequence[Run]) -> float:
    """The median of the runs' seconds."""
    return median(run.seconds for run in runs)


def machine() -> str:
    """One line about where the figures come from."""
    import psutil

    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB of memory, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )


def verdict(name: str, value: float, limit: float, unit: str = "", *, at_most: bool = False) -> bool:
    """Print a figure beside its target, and say whether it was reached."""
    reached = value <= limit if at_most else value >= limit
    sign = "<=" if at_most else ">="
    print(f"  {name}: {value:.2f}{unit}, target {sign} {limit:g}{unit}: {PASSED if reached else MISSED}", flush=True)
    return reached
