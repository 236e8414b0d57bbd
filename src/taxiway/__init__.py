"""Taxiway takes a Spark ML model from raw New York taxi trips to production and back.

The public names below are imported on first use: importing `taxiway` starts nothing and imports
neither Spark nor MLflow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from taxiway.comparison import compare
    from taxiway.deletion import delete, plan_deletion
    from taxiway.errors import TaxiwayError
    from taxiway.inspection import inspect
    from taxiway.plots import draw_trips
    from taxiway.recipes import Estimator, Range, Recipe, Rule
    from taxiway.registry import promote, register
    from taxiway.scoring import score
    from taxiway.settings import Settings, load_settings
    from taxiway.spark import spark_session
    from taxiway.training import train
    from taxiway.trips.schema import Column, Layout
    from taxiway.trips.source import fetch
    from taxiway.trips.synthetic import synthesize
    from taxiway.versions import models

_HOMES = {
    "Column": "taxiway.trips.schema",
    "Estimator": "taxiway.recipes",
    "Layout": "taxiway.trips.schema",
    "Range": "taxiway.recipes",
    "Recipe": "taxiway.recipes",
    "Rule": "taxiway.recipes",
    "Settings": "taxiway.settings",
    "TaxiwayError": "taxiway.errors",
    "compare": "taxiway.comparison",
    "delete": "taxiway.deletion",
    "draw_trips": "taxiway.plots",
    "fetch": "taxiway.trips.source",
    "inspect": "taxiway.inspection",
    "load_settings": "taxiway.settings",
    "models": "taxiway.versions",
    "plan_deletion": "taxiway.deletion",
    "promote": "taxiway.registry",
    "register": "taxiway.registry",
    "score": "taxiway.scoring",
    "spark_session": "taxiway.spark",
    "synthesize": "taxiway.trips.synthetic",
    "train": "taxiway.training",
}

__all__ = [
    "Column",
    "Estimator",
    "Layout",
    "Range",
    "Recipe",
    "Rule",
    "Settings",
    "TaxiwayError",
    "__version__",
    "compare",
    "delete",
    "draw_trips",
    "fetch",
    "inspect",
    "load_settings",
    "models",
    "plan_deletion",
    "promote",
    "register",
    "score",
    "spark_session",
    "synthesize",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'taxiway' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
