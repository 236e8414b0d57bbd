"""A recipe as one Spark ML pipeline: canonical trip columns in, prediction and probability out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from taxiway.errors import RecipeError, UsageError, did_you_mean
from taxiway.features import LABEL, feature_column, feature_statement
from taxiway.recipes import CompiledRecipe, Recipe
from taxiway.recipes.estimators import ESTIMATORS
from taxiway.recipes.metrics import Task

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.ml.base import Estimator, Transformer
    from pyspark.sql import Column

FEATURES = "features"
PREDICTION = "prediction"
PROBABILITY = "probability"
MOST_CATEGORIES = 1_000
"""Values of one indexed feature, 'unknown' included: each node of a tree counts every one and may list half of them."""


def preparation_stages(recipe: CompiledRecipe, estimator: str) -> list[Estimator[Any] | Transformer]:
    """The stages that turn a raw trip into the vector ``features``, as an estimator is shown it.

    Parameters
    ----------
    recipe : CompiledRecipe
    estimator : str
        A name of `taxiway.recipes.estimators.ESTIMATORS`, which tells how it is shown categories.

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
    stages: list[Any] = [SQLTransformer(statement=feature_statement(recipe))]
    if numeric:
        stages.append(Imputer(inputCols=numeric, outputCols=imputed, strategy="median"))
    if categorical:
        stages.append(
            StringIndexer(
                inputCols=categorical,
                outputCols=indexed,
                handleInvalid="keep",
                # Ties of equal frequency are broken by the alphabet, so that a fit is repeatable.
                stringOrderType="frequencyDesc",
            )
        )
    # The assembler keeps what the indexer says of its columns: that they are categories, and how many.
    shown = indexed
    if categorical and ESTIMATORS[estimator].categories == "one-hot":
        shown = [f"{name}_onehot" for name in categorical]
        # 'keep' at both encoders: (keep, dropLast) is also the pair that other runtimes can follow.
        stages.append(OneHotEncoder(inputCols=indexed, outputCols=shown, handleInvalid="keep", dropLast=True))
    stages.append(VectorAssembler(inputCols=[*imputed, *shown], outputCol=FEATURES, handleInvalid="keep"))
    return stages


def labels_of(prepared: PipelineModel, recipe: CompiledRecipe) -> dict[str, tuple[str, ...]]:
    """The categories of each categorical feature that training saw, the most frequent first."""
    from pyspark.ml.feature import StringIndexerModel

    indexers = (stage for stage in prepared.stages if isinstance(stage, StringIndexerModel))
    found = [tuple(labels) for indexer in indexers for labels in indexer.labelsArray]
    return dict(zip(recipe.recipe.categorical, found, strict=True))


def is_one_hot(prepared: PipelineModel) -> bool:
    """Whether fitted stages give each category a slot of its own."""
    from pyspark.ml.feature import OneHotEncoderModel

    return any(isinstance(stage, OneHotEncoderModel) for stage in prepared.stages)


def slot_names(prepared: PipelineModel, recipe: CompiledRecipe) -> tuple[tuple[str, str], ...]:
    """Name every slot of the vector ``features``.

    Returns
    -------
    tuple of (feature, slot)
        ``("fare_amount", "fare_amount")`` for a number or an indexed category. One-hot categories have a slot
        each, ``("payment_type", "payment_type = 2")``; ``payment_type unknown`` stands for null and unseen values.
    """
    if not is_one_hot(prepared):
        return tuple((name, name) for name in recipe.recipe.inputs)
    slots = [(name, name) for name in recipe.recipe.numeric]
    for name, labels in labels_of(prepared, recipe).items():
        slots += [(name, f"{name} = {label}") for label in labels]
        slots.append((name, f"{name} unknown"))
    return tuple(slots)


def keep_frequent(fitted: Sequence[Transformer], most: int) -> list[Transformer]:
    """Fitted stages whose indexers know only the most frequent categories; the others count as unknown.

    Parameters
    ----------
    fitted : sequence of Transformer
    most : int
        Values of one column at most, 'unknown' included.
    """
    from pyspark.ml.feature import StringIndexerModel

    kept: list[Transformer] = []
    for stage in fitted:
        if not isinstance(stage, StringIndexerModel) or all(len(labels) < most for labels in stage.labelsArray):
            kept.append(stage)
            continue
        # One for each column: pyspark hands lists of different lengths over filled up with nulls (4.3).
        kept += [
            StringIndexerModel.from_arrays_of_labels(
                [list(labels[: most - 1])], [read], [added], handleInvalid=stage.getHandleInvalid()
            )
            for read, added, labels in zip(stage.getInputCols(), stage.getOutputCols(), stage.labelsArray, strict=True)
        ]
    return kept


def build_estimator(name: str, task: Task, params: Mapping[str, Any], seed: int = 0) -> Estimator[Any]:
    """Make an unfitted Spark ML estimator.

    Parameters
    ----------
    name : str
        As recipes name it: ``logistic_regression``.
    task : {'classification', 'regression'}
    params : mapping of str to object
        Hyper-parameters under Spark's names.
    seed : int
        For the estimators that draw.

    Raises
    ------
    RecipeError
        Unknown estimator, or one that cannot do the task.
    UsageError
        Unknown hyper-parameter, or a value that the estimator does not take.
    """
    kind = ESTIMATORS.get(name)
    if kind is None:
        raise RecipeError(f"There is no estimator '{name}'", did_you_mean(name, ESTIMATORS))
    if task not in kind.spark:
        raise RecipeError(f"{name} does no {task}", f"It does {' and '.join(kind.tasks)}")
    module, _, class_name = kind.spark[task].estimator.partition(".")
    estimator_class = getattr(import_module(f"pyspark.ml.{module}"), class_name)
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
