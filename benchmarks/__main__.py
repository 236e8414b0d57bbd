"""All measurements, one after the other, or the one that is named.

``python -m benchmarks`` runs all of them with their defaults (about an hour on two cores);
``python -m benchmarks against_notebook --repeats 1`` runs one, with its own options.
The exit code is 1 when a target was missed.
"""

from __future__ import annotations

import subprocess
import sys

NAMES = ("startup", "synthetic_rate", "against_notebook", "growth")


def main(arguments: list[str]) -> int:
    """Run the measurement that is named, or all; 1 if any of them missed its target."""
    if arguments and arguments[0] not in NAMES:
        print(f"usage: python -m benchmarks [{' | '.join(NAMES)}] [options]", file=sys.stderr)
        return 0 if arguments[0] in ("-h", "--help") else 2
    names, options = (arguments[:1], arguments[1:]) if arguments else (NAMES, [])
    codes = []
    for name in names:
        print(f"== {name}", flush=True)
        # A process for each: what one of them has imported or cached must not help the next.
        codes.append(subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], check=False).returncode)
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
