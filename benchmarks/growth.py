"""How training grows with the trips: from 700 thousand to 7 million synthetic ones.

Each run is the installed command, ``taxiway train tip`` with its sweep of ten fits, on two synthetic
months: nine tenths of the trips to learn from, one tenth to judge on. While it runs, the memory of the
driver's JVM and of Python is sampled.

Run it with ``python -m benchmarks growth [--repeats 3] [--rows 700_000 7_000_000]``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import psutil
from benchmarks.measuring import TAXIWAY, clean_environment, fail, machine, stop_cleanly, verdict

TRAIN, HOLDOUT = "yellow:2018-05", "yellow:2018-06"
SMALL, LARGE = 700_000, 7_000_000
MOST_GROWTH, MOST_MEMORY = 10.0, 4.0
GIB = 2**30
DRIVER = "org.apache.spark.deploy.SparkSubmit"
_PAUSE = 0.1


@dataclass
class Memory:
    """The most that the command and its driver held at any moment sampled, in bytes."""

    jvm: int = 0
    python: int = 0
    heap: str = ""

    def sample(self, root: psutil.Process) -> None:
        """Look at the command's own process, and at the JVM that it started.

        The largest of the JVM's processes is taken, not their sum: for a moment, a program that it
        starts looks like a copy of itself.
        """
        try:
            self.python = max(self.python, root.memory_info().rss)
            for process in root.children(recursive=True):
                words = process.cmdline()
                if DRIVER in words:
                    self.jvm = max(self.jvm, process.memory_info().rss)
                    self.heap = next((word for word in words if word.startswith("-Xmx")), "")
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            return  # one of them ended between the list and the look; the next sample sees the rest


@dataclass(frozen=True)
class Training:
    """One training that ended well."""

    seconds: float
    memory: Memory
    document: dict[str, object]


def train(trips: Path, folder: Path) -> Training:
    """Train once, in a home of its own, and watch the memory."""
    command = [str(TAXIWAY), "train", "tip", "--train", TRAIN, "--holdout", HOLDOUT, "--json"]
    command += ["--trips-source", str(trips), "--home", str(folder / "home")]
    memory = Memory()
    load = os.getloadavg()[0]
    with (folder / "out.json").open("wb") as out, (folder / "log").open("wb") as log:
        began = perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=clean_environment(), stdout=out, stderr=log)
        root = psutil.Process(process.pid)
        while True:
            memory.sample(root)
            try:
                code = process.wait(_PAUSE)
            except subprocess.TimeoutExpired:
                continue
            break
        seconds = perf_counter() - began
    if code != 0:
        fail(f"taxiway train ended with {code}", folder / "log")
    print(
        f"    {seconds:7.1f} s   JVM {memory.jvm / GIB:.2f} GiB ({memory.heap}), Python {memory.python / GIB:.2f} GiB"
        f"   (load at the start {load:.1f})",
        flush=True,
    )
    return Training(seconds, memory, json.loads((folder / "out.json").read_text()))


def make_trips(rows: int, folder: Path) -> Path:
    """Two months of synthetic trips, nine tenths of them in the first."""
    from taxiway import synthesize

    synthesize(TRAIN, rows - rows // 10, folder, seed=1)
    synthesize(HOLDOUT, rows // 10, folder, seed=2)
    return folder


def measure(sizes: Sequence[int], repeats: int, folder: Path) -> dict[int, list[Training]]:
    """Train on each size in turn, `repeats` times."""
    found: dict[int, list[Training]] = {rows: [] for rows in sizes}
    trips = {rows: make_trips(rows, folder / f"trips-{rows}") for rows in sizes}
    for number in range(repeats):
        for rows in sizes:
            print(f"  {rows:,} synthetic trips", flush=True)
            with TemporaryDirectory(dir=folder, prefix=f"run-{number}-") as mine:
                found[rows].append(train(trips[rows], Path(mine)))
    return found


def report(found: dict[int, list[Training]]) -> bool:
    """Print the growth and the memory beside their targets; False when one is missed."""
    small, large = min(found), max(found)
    seconds = {rows: median(run.seconds for run in runs) for rows, runs in found.items()}
    for rows in sorted(found):
        usable = found[rows][0].document["rows"]
        print(f"  {rows:,} trips: median {seconds[rows]:.1f} s, usable rows {usable}")
    jvm = max(run.memory.jvm for run in found[large]) / GIB
    total = max(run.memory.jvm + run.memory.python for run in found[large]) / GIB
    print(f"  largest JVM and Python together at {large:,} trips: {total:.2f} GiB")
    reached = [
        verdict(f"{large / small:g} times the trips, the time grows by", seconds[large] / seconds[small], MOST_GROWTH,
                " x", at_most=True),
        verdict("driver memory (resident, the JVM at its largest)", jvm, MOST_MEMORY, " GiB", at_most=True),
    ]  # fmt: skip
    return all(reached)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time and memory of a training as the trips grow.")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each size; the median counts")
    parser.add_argument("--rows", type=int, nargs=2, default=[SMALL, LARGE], help="the two sizes")
    options = parser.parse_args(arguments)
    stop_cleanly()
    print(machine())
    print(f"taxiway train tip, ten fits, {options.repeats} runs of each size")
    with TemporaryDirectory(prefix="taxiway-bench-") as folder:
        return 0 if report(measure(options.rows, options.repeats, Path(folder))) else 1


if __name__ == "__main__":
    sys.exit(main())
