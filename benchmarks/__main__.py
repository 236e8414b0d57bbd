"""All measurements, one after the other, or the one that is named.

``python -m benchmarks`` runs all of them with their defaults (about an hour and a half on two cores);
``python -m benchmarks against_notebook --repeats 1`` runs one, with its own options.
The exit code is 1 when a target was missed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from benchmarks.measuring import stop_cleanly

NAMES = ("startup", "synthetic_rate", "against_notebook", "growth", "container_stack", "backup")


def main(arguments: list[str]) -> int:
    """Run the measurement that is named, or all; 1 if any of them missed its target."""
    if arguments and arguments[0] not in NAMES:
        print(f"usage: python -m benchmarks [{' | '.join(NAMES)}] [options]", file=sys.stderr)
        return 0 if arguments[0] in ("-h", "--help") else 2
    stop_cleanly()
    names, options = (arguments[:1], arguments[1:]) if arguments else (NAMES, [])
    codes = []
    for name in names:
        print(f"== {name}", flush=True)
        codes.append(run(name, options))
    return int(any(codes))


def run(name: str, options: Sequence[str]) -> int:
    """Run one measurement in a process of its own: what one has imported or cached must not help the next."""
    process = subprocess.Popen([sys.executable, "-m", f"benchmarks.{name}", *options])
    try:
        return process.wait()
    finally:
        # Left by Ctrl-C or a request to terminate: it still has a server to stop and files to remove.
        if process.poll() is None:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
