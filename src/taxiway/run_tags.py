"""The tags that Taxiway puts on MLflow's runs, versions and models: what each is called, and what it says."""

from __future__ import annotations

from collections.abc import Mapping

KIND = "taxiway.kind"
"""Of a run: ``sweep`` for the parent run, ``candidate`` for each of its children."""
RECIPE = "taxiway.recipe"
RECIPE_DIGEST = "taxiway.recipe_digest"
METRIC = "taxiway.metric"
"""What decides, ``holdout_roc_auc``."""
DIRECTION = "taxiway.direction"
"""``max`` where more of the metric is better, else ``min``."""
HYPERPARAMETERS = "taxiway.hyperparameters"
"""Names of those that differ between candidates, with commas between them."""
BEST_RUN_ID = "taxiway.best_run_id"
LEAKAGE = "taxiway.leakage"
"""Features that the leakage audit flagged, with commas between them."""
SYNTHETIC = "taxiway.synthetic"
"""``true`` where any of the trips are made up; else there is no such tag."""
VERSION = "taxiway.version"
SPARK_VERSION = "taxiway.spark_version"
MLFLOW_VERSION = "taxiway.mlflow_version"
PYTHON_VERSION = "taxiway.python_version"
HOST = "taxiway.host"
PID = "taxiway.pid"

OF_A_VERSION = (RECIPE, METRIC, DIRECTION, LEAKAGE, SYNTHETIC)
"""What a registered version says as its run did."""


def flagged_features(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Features that the leakage audit flagged, as tags tell."""
    return tuple(name for name in tags.get(LEAKAGE, "").split(",") if name)


def is_synthetic(tags: Mapping[str, str]) -> bool:
    """Whether made-up trips were learned from, as tags tell."""
    return tags.get(SYNTHETIC) == "true"
