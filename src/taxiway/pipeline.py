"""A recipe as one Spark ML pipeline: canonical trip columns in, prediction and probability out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from taxiway.errors import RecipeError, UsageError, did_you_mean
from taxiway.features import LABEL, feature_column, feature_statement
from taxiway.recipes import CompiledRecipe, Recipe

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.ml.base import Estimator, Transformer
    from pyspark.sql import Column

FEATURES = "features"
PREDICTION = "prediction"
PROBABILITY = "probability"


def preparation_stages(recipe: CompiledRecipe) -> list[Estimator[Any] | Transformer]:
    """The stages that turn a raw trip into the vector ``features``.

    Parameters
    ----------
    recipe : CompiledRecipe

    Returns
    -------
    list
        Unfitted stages. Nulls of numeric features become the training median; a category that
        is null or was never seen in training is a category of its own.
    """
    from pyspark.ml.feature import Imputer, OneHotEncoder, SQLTransformer, StringIndexer, VectorAssembler

    numeric = [feature_column(name) for name in recipe.recipe.numeric]
    categorical = [feature_column(name) for name in recipe.recipe.categorical]
    imputed = [f"{name}_imputed" for name in numeric]
    indexed = [f"{name}_index" for name in categorical]
    encoded = [f"{name}_onehot" for name in categorical]
    stages: list[Any] = [SQLTransformer(statement=feature_statement(recipe))]
    if numeric:
        stages.append(Imputer(inputCols=numeric, outputCols=imputed, strategy="median"))
    if categorical:
        # 'keep' at both encoders: (keep, dropLast) is also the pair that other runtimes can follow.
        stages.append(
            StringIndexer(
                inputCols=categorical,
                outputCols=indexed,
                handleInvalid="keep",
                # Ties of equal frequency are broken by the alphabet, so that a fit is repeatable.
                stringOrderType="frequencyDesc",
            )
        )
        stages.append(OneHotEncoder(inputCols=indexed, outputCols=encoded, handleInvalid="keep", dropLast=True))
    stages.append(VectorAssembler(inputCols=[*imputed, *encoded], outputCol=FEATURES, handleInvalid="keep"))
    return stages


def slot_names(prepared: PipelineModel, recipe: CompiledRecipe) -> tuple[tuple[str, str], ...]:
    """Name every slot of the vector ``features``.

    Returns
    -------
    tuple of (feature, slot)
        ``("fare_amount", "fare_amount")`` for a number, ``("payment_type", "payment_type = 2")``
        for a category; ``payment_type unknown`` stands for null and unseen values.
    """
    from pyspark.ml.feature import StringIndexerModel

    slots = [(name, name) for name in recipe.recipe.numeric]
    indexers = [stage for stage in prepared.stages if isinstance(stage, StringIndexerModel)]
    for indexer in indexers:
        for name, labels in zip(recipe.recipe.categorical, indexer.labelsArray, strict=True):
            slots += [(name, f"{name} = {label}") for label in labels]
            slots.append((name, f"{name} unknown"))
    return tuple(slots)


def build_estimator(name: str, params: Mapping[str, Any], seed: int) -> Estimator[Any]:
    """Make an unfitted Spark ML estimator.

    Parameters
    ----------
    name : str
        A key of `ESTIMATORS`.
    params : mapping of str to object
        Hyper-parameters under Spark's names.
    seed : int
        For the estimators that draw.

    Raises
    ------
    RecipeError
        Unknown estimator.
    UsageError
        Unknown hyper-parameter, or a value that the estimator does not take.
    """
    if name not in ESTIMATORS:
        raise RecipeError(f"There is no estimator '{name}'", did_you_mean(name, ESTIMATORS))
    module, class_name = ESTIMATORS[name]
    estimator_class = getattr(import_module(module), class_name)
    estimator: Estimator[Any] = estimator_class(featuresCol=FEATURES, labelCol=LABEL, predictionCol=PREDICTION)
    known = {param.name for param in estimator.params}
    for key, value in params.items():
        if key not in known:
            raise UsageError(f"{name} has no hyper-parameter '{key}'", did_you_mean(key, known))
        try:
            estimator._set(**{key: value})
        except (TypeError, ValueError) as error:
            raise UsageError(f"{name} does not take {key}={value}", str(error)) from error
    if "seed" in known:
        estimator._set(seed=seed)
    return estimator


def score_column(recipe: Recipe) -> Column:
    """What a fitted candidate's output says: the probability of label 1, or the number."""
    from pyspark.ml.functions import vector_to_array
    from pyspark.sql import functions as F

    return vector_to_array(F.col(PROBABILITY))[1] if recipe.task == "classification" else F.col(PREDICTION)


def assemble(stages: Sequence[Transformer]) -> PipelineModel:
    """One PipelineModel of fitted stages."""
    from pyspark.ml import PipelineModel

    return PipelineModel(list(stages))


# Name -> module and class, imported on use.
ESTIMATORS: Mapping[str, tuple[str, str]] = {
    "logistic_regression": ("pyspark.ml.classification", "LogisticRegression"),
    "gradient_boosted_trees": ("pyspark.ml.classification", "GBTClassifier"),
    "random_forest": ("pyspark.ml.classification", "RandomForestClassifier"),
    "linear_regression": ("pyspark.ml.regression", "LinearRegression"),
    "gradient_boosted_trees_regression": ("pyspark.ml.regression", "GBTRegressor"),
    "random_forest_regression": ("pyspark.ml.regression", "RandomForestRegressor"),
}
