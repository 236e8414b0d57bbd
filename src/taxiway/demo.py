"""The main job in one go: from raw trips to a scored production model."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from taxiway.errors import NotFound, Unreachable
from taxiway.progress import Progress, Silent
from taxiway.settings import Settings, load_settings
from taxiway.sharing import output_location

if TYPE_CHECKING:
    from taxiway.registry import Move
    from taxiway.scoring import Scoring
    from taxiway.training import Training
    from taxiway.trips.months import Month
    from taxiway.versions import Version

RECIPE = "tip"
TRAIN, HOLDOUT = "green:2023-01", "green:2023-02"
SET_ASIDE = "green:2023-03"
"""Scored at the end, where the source has it; the holdout month, which no fit has seen, otherwise."""

_SYNTHETIC_ROWS = 60_000
_SYNTHETIC_SEED = 2023


@dataclass(frozen=True)
class Demo:
    """What the demo did.

    Parameters
    ----------
    source : str
        What answered as the source of trips, or why synthetic ones were taken.
    training : Training
    version : Version
        The one in production now.
    moves : tuple of Move
        How it came there.
    scoring : Scoring
    settings : Settings
        With the source that was used.
    seconds : float
        Downloads included.
    """

    source: str
    training: Training
    version: Version
    moves: tuple[Move, ...]
    scoring: Scoring
    settings: Settings
    seconds: float


def run_demo(settings: Settings | None = None, progress: Progress | None = None) -> Demo:
    """Fetch, prepare, train, compare, register, promote and score on green trips of early 2023.

    Parameters
    ----------
    settings : Settings, optional
        Read from the environment by default. If its source of trips does not answer, synthetic
        trips are made and used instead.
    progress : Progress, optional

    Returns
    -------
    Demo

    Raises
    ------
    Unreachable
        The tracking server does not answer.
    """
    from taxiway.registry import promote, register
    from taxiway.scoring import score
    from taxiway.training import train

    began = time.monotonic()
    watch = progress or Silent()
    options, source = _find_trips(settings or load_settings(), watch)
    training = train(RECIPE, TRAIN, HOLDOUT, settings=options, progress=watch)
    watch.begin("Registering and promoting")
    version = register(RECIPE, options, run=training.best_run_id, description="The demo's best run")
    staged = promote(str(version), options, to="staging")
    done = promote(str(version), options, to="production")
    watch.end("Registering and promoting")
    scoring = score(
        RECIPE,
        _set_aside(options),
        output_location(options, "predictions", RECIPE),
        settings=options,
        progress=watch,
    )
    return Demo(
        source=source,
        training=training,
        version=done.version,
        moves=(*staged.moves, *done.moves),
        scoring=scoring,
        settings=options,
        seconds=time.monotonic() - began,
    )


def _find_trips(settings: Settings, progress: Progress) -> tuple[Settings, str]:
    from taxiway.trips.source import check_source

    try:
        return settings, check_source(settings)
    except Unreachable as error:
        progress.note(f"{error.message}. Going on with synthetic trips, labelled so everywhere.")
        return _make_trips(settings, progress), f"synthetic. {error.message}"


def _make_trips(settings: Settings, progress: Progress) -> Settings:
    from taxiway.trips.synthetic import synthesize

    folder = settings.home / "synthetic"
    synthesize(_months(TRAIN, HOLDOUT, SET_ASIDE), _SYNTHETIC_ROWS, folder, seed=_SYNTHETIC_SEED, progress=progress)
    return replace(settings, trips_source=str(folder))


def _set_aside(settings: Settings) -> str:
    from taxiway.trips.source import fetch

    try:
        fetch(_months(SET_ASIDE), settings)
    except NotFound:
        return HOLDOUT
    return SET_ASIDE


def _months(*labels: str) -> list[Month]:
    from taxiway.trips.months import parse_months

    return [month for label in labels for month in parse_months(label)]
