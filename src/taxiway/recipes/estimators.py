"""The estimators that recipes may name: one row of this table says all that is so of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from taxiway.recipes.metrics import Task

Categories = Literal["one-hot", "indexed"]
"""How an estimator is shown categories: a slot of zeros and ones for each, or one slot with the category's number."""


@dataclass(frozen=True)
class SparkClasses:
    """Where Spark keeps an estimator and what it fits, below ``pyspark.ml`` and ``org.apache.spark.ml``.

    Parameters
    ----------
    estimator : str
        ``classification.LogisticRegression``.
    model : str
        ``classification.LogisticRegressionModel``.
    """

    estimator: str
    model: str


@dataclass(frozen=True)
class EstimatorKind:
    """What is so of an estimator whatever the recipe.

    Parameters
    ----------
    spark : mapping of {'classification', 'regression'} to SparkClasses
        Its classes for each task that it can do.
    categories : {'one-hot', 'indexed'}
        A linear estimator learns a weight for each slot, so each category needs one. A tree asks *which of these
        categories?*, all in one question; of one-hot slots it would need a level for each category.
    audit_at_most, audit_at_least : mapping of str to float
        Bounds of its hyper-parameters in the refits of the leakage audit, which is read for its second digit.
    """

    spark: Mapping[Task, SparkClasses]
    categories: Categories
    audit_at_most: Mapping[str, float] = field(default_factory=dict)
    audit_at_least: Mapping[str, float] = field(default_factory=dict)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What it can do."""
        return tuple(self.spark)


_LOGISTIC = SparkClasses("classification.LogisticRegression", "classification.LogisticRegressionModel")
_LINEAR = SparkClasses("regression.LinearRegression", "regression.LinearRegressionModel")
_BOOSTED: Mapping[Task, SparkClasses] = {
    "classification": SparkClasses("classification.GBTClassifier", "classification.GBTClassificationModel"),
    "regression": SparkClasses("regression.GBTRegressor", "regression.GBTRegressionModel"),
}
_FOREST: Mapping[Task, SparkClasses] = {
    "classification": SparkClasses(
        "classification.RandomForestClassifier", "classification.RandomForestClassificationModel"
    ),
    "regression": SparkClasses("regression.RandomForestRegressor", "regression.RandomForestRegressionModel"),
}
_FEWER_STEPS, _EARLIER = {"maxIter": 20}, {"tol": 1e-3}

ESTIMATORS: Mapping[str, EstimatorKind] = MappingProxyType(
    {
        "logistic_regression": EstimatorKind({"classification": _LOGISTIC}, "one-hot", _FEWER_STEPS, _EARLIER),
        "linear_regression": EstimatorKind({"regression": _LINEAR}, "one-hot", _FEWER_STEPS, _EARLIER),
        "gradient_boosted_trees": EstimatorKind(_BOOSTED, "indexed", {"maxIter": 3}),
        "random_forest": EstimatorKind(_FOREST, "indexed", {"numTrees": 10}),
    }
)
