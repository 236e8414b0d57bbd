"""Taxiway takes a Spark ML model from raw New York taxi trips to production and back.

The public names below are imported on first use: importing `taxiway` starts nothing and imports
neither Spark nor MLflow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from taxiway import notebook
    from taxiway.comparison import compare, draw_comparison
    from taxiway.deletion import delete, plan_deletion
    from taxiway.downloads import load_model
    from taxiway.errors import TaxiwayError
    from taxiway.inspection import inspect
    from taxiway.model_evaluation import evaluate_model
    from taxiway.pipeline import build_estimator, preparation_stages
    from taxiway.plots import draw_trips
    from taxiway.predictions import load_pipeline
    from taxiway.preparation import compute_features, split_months
    from taxiway.recipes import Estimator, Range, Recipe, Rule, load_recipe
    from taxiway.registry import promote, register
    from taxiway.scoring import score
    from taxiway.settings import Settings, load_settings
    from taxiway.sharing import output_location
    from taxiway.spark import spark_session
    from taxiway.training import train
    from taxiway.trips.checking import read_trips
    from taxiway.trips.months import describe_months
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
    "build_estimator": "taxiway.pipeline",
    "compare": "taxiway.comparison",
    "compute_features": "taxiway.preparation",
    "delete": "taxiway.deletion",
    "describe_months": "taxiway.trips.months",
    "draw_comparison": "taxiway.comparison",
    "draw_trips": "taxiway.plots",
    "evaluate_model": "taxiway.model_evaluation",
    "fetch": "taxiway.trips.source",
    "inspect": "taxiway.inspection",
    "load_model": "taxiway.downloads",
    "load_pipeline": "taxiway.predictions",
    "load_recipe": "taxiway.recipes",
    "load_settings": "taxiway.settings",
    "models": "taxiway.versions",
    "output_location": "taxiway.sharing",
    "plan_deletion": "taxiway.deletion",
    "preparation_stages": "taxiway.pipeline",
    "promote": "taxiway.registry",
    "read_trips": "taxiway.trips.checking",
    "register": "taxiway.registry",
    "score": "taxiway.scoring",
    "spark_session": "taxiway.spark",
    "split_months": "taxiway.preparation",
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
    "build_estimator",
    "compare",
    "compute_features",
    "delete",
    "describe_months",
    "draw_comparison",
    "draw_trips",
    "evaluate_model",
    "fetch",
    "inspect",
    "load_model",
    "load_pipeline",
    "load_recipe",
    "load_settings",
    "models",
    "notebook",
    "output_location",
    "plan_deletion",
    "preparation_stages",
    "promote",
    "read_trips",
    "register",
    "score",
    "spark_session",
    "split_months",
    "synthesize",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "notebook":
        return importlib.import_module(f"taxiway.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'taxiway' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
