"""How long a backup of the container stack takes, and a restore into an empty one.

A stack of its own is started (project ``taxiway-bench``) and filled with runs that have parameters, metrics and
a model in as many files as Spark writes: the runs over MLflow's API, the files straight into the bucket. It is
backed up, removed with all its volumes, started again empty, and restored. Only ``taxiway stack backup`` and
``taxiway stack restore`` are timed.

Run it with ``python -m benchmarks backup [--runs 1000] [--bytes 1073741824] [--s3 minio]``. It needs Docker,
and builds the stack's images if there are none.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import TAXIWAY, fail, machine, stop_cleanly, verdict
from benchmarks.stacks import Filler, environment, make_bench, stack, straight_into_the_bucket

RUNS, BYTES = 1_000, 2**30
LIMIT = 120.0
_AT_ONCE = 4


def measure(runs: int, size: int, s3: str, folder: Path) -> tuple[float, float, dict[str, int]]:
    """Seconds of a backup and of a restore, and what was in it."""
    around = environment(folder, s3)
    file = folder / "backup.tar"
    try:
        stack(["up"], folder, around)
        make_bench(around)
        began = time.perf_counter()
        with straight_into_the_bucket(around) as upload, ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(Filler(folder / "models", around, size // runs, upload).add, range(runs)))
        print(f"    filled in {time.perf_counter() - began:.0f} s", flush=True)
        backup = stack(["backup", str(file)], folder, around)
        check = [TAXIWAY, "stack", "restore", str(file), "--check", "--json"]
        counts = json.loads(subprocess.run(check, env=around, check=True, stdout=subprocess.PIPE).stdout)["counts"]
        stack(["clear", "--yes"], folder, around)
        stack(["up"], folder, around)
        restore = stack(["restore", str(file)], folder, around)
    finally:
        subprocess.run([TAXIWAY, "stack", "clear", "--yes"], cwd=folder, env=around, check=False, capture_output=True)
    if counts["runs"] != runs or counts["object_bytes"] < size * 0.99:
        fail(f"the backup holds {counts}, not what was logged", folder / "log")
    return backup, restore, counts


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Seconds of a backup of the stack and of a restore.")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--bytes", type=int, default=BYTES, help="of all artifacts together")
    parser.add_argument("--s3", choices=("seaweedfs", "minio"), default="seaweedfs")
    options = parser.parse_args(arguments)
    stop_cleanly()
    print(machine())
    with TemporaryDirectory(prefix="taxiway-bench-") as name:
        backup, restore, counts = measure(options.runs, options.bytes, options.s3, Path(name))
    print(f"  {counts['runs']:,} runs, {counts['objects']:,} objects, {counts['object_bytes'] / 2**30:.2f} GiB")
    reached = [verdict(f"taxiway stack {what}", seconds, LIMIT, " s", at_most=True)
               for what, seconds in (("backup", backup), ("restore", restore))]  # fmt: skip
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
