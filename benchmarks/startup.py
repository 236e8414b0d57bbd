"""How long a command takes before it is of any use, beside Python itself and MLflow's command.

Each command is the installed one, in a process of its own; all of them take turns. The store and the
trips are made before the clock starts.

Run it with ``python -m benchmarks startup [--repeats 7] [--trips FOLDER]``. Without a folder of real
trips (the green ones of 2023-01) synthetic ones are made.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import (
    TAXIWAY,
    Run,
    clean_environment,
    machine,
    middle,
    run_timed,
    stop_cleanly,
    trips_folder,
    verdict,
)

MONTH = "green:2023-01"
SYNTHETIC_ROWS = 68_000
HELP_LIMIT = 0.3
PYTHON, HELP, PEER = "python -c pass", "taxiway --help", "mlflow --help"


def commands(home: Path, trips: Path) -> dict[str, list[str]]:
    """What is measured, by how it is shown."""
    taxiway, place = str(TAXIWAY), ["--home", str(home), "--trips-source", str(trips)]
    return {
        PYTHON: [sys.executable, "-c", "pass"],
        HELP: [taxiway, "--help"],
        PEER: [str(TAXIWAY.with_name("mlflow")), "--help"],
        "taxiway settings": [taxiway, "settings", *place],
        "taxiway models": [taxiway, "models", *place],
        f"taxiway fetch {MONTH}": [taxiway, "fetch", MONTH, *place],
        f"taxiway trips {MONTH}": [taxiway, "trips", MONTH, *place],
    }


def measure(home: Path, trips: Path, repeats: int, folder: Path) -> dict[str, list[Run]]:
    """Run all commands in turn; the first round makes the store, warms the disk and does not count."""
    wanted = commands(home, trips)
    found: dict[str, list[Run]] = {name: [] for name in wanted}
    for _ in range(repeats + 1):
        for name, command in wanted.items():
            found[name].append(run_timed(command, folder, clean_environment(), folder / "log"))
    return {name: runs[1:] for name, runs in found.items()}


def report(found: dict[str, list[Run]]) -> bool:
    """Print each command's median, and how often Python's own start fits into it; False if too slow."""
    bare = middle(found[PYTHON])
    for name, runs in found.items():
        seconds = middle(runs)
        print(f"  {name:30}{seconds:8.3f} s   {seconds / bare:8.1f} x {PYTHON}")
    ratio = middle(found[PEER]) / middle(found[HELP])
    print(f"  {HELP} is faster than {PEER} by {ratio:.1f} x")
    return verdict(HELP, middle(found[HELP]), HELP_LIMIT, " s", at_most=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Seconds from a command's start to its end.")
    parser.add_argument("--repeats", type=int, default=7, help="runs of each command; the median counts")
    parser.add_argument("--trips", type=Path, help="folder of real trips; TAXIWAY_TEST_TRIPS by default")
    options = parser.parse_args(arguments)
    stop_cleanly()
    trips = trips_folder(options.trips)
    print(machine())
    with TemporaryDirectory(prefix="taxiway-bench-") as name:
        folder = Path(name)
        if trips is None:
            from taxiway import synthesize

            trips = folder / "made"
            synthesize(MONTH, SYNTHETIC_ROWS, trips)
            print("the trips are synthetic")
        return 0 if report(measure(folder / "home", trips, options.repeats, folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
