"""Taxiway's way: from trips in a folder to a scored production model, in one process by the Python API.

`against_notebook.py` starts it. Beside the result it writes down the seconds of each step that the
library reports, so that one sees where the time goes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter

from taxiway import load_settings, promote, register, score, train

RECIPE = "tip"


class Steps:
    """A `taxiway.progress.Progress` that keeps the seconds from a step's first begin to its end."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began: dict[str, float] = {}

    def begin(self, task: str, total: float | None = None, unit: str = "") -> None:
        self._began.setdefault(task, perf_counter())

    def advance(self, task: str, by: float = 1) -> None:
        pass

    def end(self, task: str) -> None:
        self.seconds[task] = self.seconds.get(task, 0.0) + perf_counter() - self._began.pop(task)

    def note(self, message: str) -> None:
        print(message)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--trips", type=Path, required=True)
    parser.add_argument("--train", required=True)
    parser.add_argument("--holdout", required=True)
    parser.add_argument("--score", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args()

    steps = Steps()
    settings = load_settings({"home": options.home, "trips_source": options.trips})
    steps.begin("= train")
    training = train(RECIPE, options.train, options.holdout, settings=settings, progress=steps)
    steps.end("= train")
    steps.begin("= register and promote")
    version = register(RECIPE, settings, run=training.best_run_id)
    promote(str(version), settings, to="staging")
    promote(str(version), settings, to="production")
    steps.end("= register and promote")
    steps.begin("= score")
    scoring = score(RECIPE, options.score, options.out, settings=settings, progress=steps)
    steps.end("= score")
    result = {
        "auc": training.best.metrics[training.metric],
        "scored": scoring.rows,
        "steps": steps.seconds,
    }
    options.result.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
