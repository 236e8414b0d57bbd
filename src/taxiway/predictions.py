"""Trips through a model: each gets an answer, or the reason for none; and how good the answers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from taxiway.evaluation import PART, SCORES, evaluate
from taxiway.features import LABEL, label_value
from taxiway.pipeline import PREDICTION, PROBABILITY, score_column
from taxiway.settings import Settings, load_settings
from taxiway.sharing import check_shared, read_pipeline
from taxiway.trips.quality import broken_at_scoring, broken_in_training

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import DataFrame, Row

    from taxiway.model import Model
    from taxiway.progress import Progress
    from taxiway.recipes import CompiledRecipe

REASON = "reason"
MODEL_NAME, MODEL_VERSION, RUN_ID = "model_name", "model_version", "run_id"
NO_NUMBER = "score_is_a_number"
"""The reason of a trip that breaks no rule and still makes the model answer infinity or nothing."""
ADDED = (PREDICTION, PROBABILITY, REASON, MODEL_NAME, MODEL_VERSION, RUN_ID)
"""Columns of a prediction that are not the trip's."""


def load_pipeline(model: Model, settings: Settings | None = None, progress: Progress | None = None) -> PipelineModel:
    """A model as Spark's PipelineModel, in the session that runs or in a new one.

    Parameters
    ----------
    model : Model
        What `load_model` gave.
    settings : Settings, optional
        Read from the environment by default.
    progress : Progress, optional

    Returns
    -------
    PipelineModel
        Canonical trip columns in, prediction and probability out.

    Raises
    ------
    UsageError
        Spark runs on a cluster, and nothing is set that this machine shares with it.
    """
    import mlflow.spark

    from taxiway.spark import spark_session

    options = settings or load_settings()
    check_shared(options)
    spark_session(options, progress)
    # MLflow 3.17 would look for the files in the store that ``fs.defaultFS`` names, and on a cluster have
    # executors read them where they are, on this machine.
    saved = mlflow.models.Model.load(str(model.files)).flavors[mlflow.spark.FLAVOR_NAME]["model_data"]
    return read_pipeline(model.files / saved, options)


def answer(trips: DataFrame, model: Model, pipeline: PipelineModel) -> DataFrame:
    """Give every trip an answer, or the reason why there is none.

    Parameters
    ----------
    trips : DataFrame
        Canonical columns with ``colour`` and ``month``.
    model : Model
    pipeline : PipelineModel
        What `load_pipeline` gives for it.

    Returns
    -------
    DataFrame
        The same rows and columns, then ``prediction``, ``probability`` (of label 1; for a
        classification alone), ``reason``, ``model_name``, ``model_version`` and ``run_id``.
        ``reason`` is null where there is a prediction, and the other way round.
    """
    from pyspark.sql import functions as F

    recipe = model.recipe.recipe
    number = score_column(recipe)
    # Infinity, NaN (greater than infinity to Spark) and null are no answers.
    finite = F.coalesce(F.abs(number) < F.lit(float("inf")), F.lit(False))
    reason = F.coalesce(broken_at_scoring(model.recipe.rules), F.when(~finite, F.lit(NO_NUMBER)))
    scored = pipeline.transform(trips).select(
        *trips.columns, PREDICTION, number.alias(PROBABILITY), reason.alias(REASON)
    )
    answered = F.col(REASON).isNull()
    given = [PREDICTION, PROBABILITY] if recipe.task == "classification" else [PREDICTION]
    return scored.select(
        *trips.columns,
        *(F.when(answered, F.col(name)).alias(name) for name in given),
        REASON,
        F.lit(model.name).alias(MODEL_NAME),
        F.lit(model.version).cast("int").alias(MODEL_VERSION),
        F.lit(model.run_id).alias(RUN_ID),
    )


@dataclass(frozen=True)
class Judgement:
    """What one part of the answered trips tells.

    Parameters
    ----------
    rows : int
        Trips.
    unanswered : mapping of str to int
        Those without a prediction, by reason, the most frequent first.
    usable : int
        Answered trips that meet the rules of training and tell what happened.
    metrics : mapping of str to float or None
        On the usable trips; None where there is none, or all labels of a classification are the same.
    """

    rows: int
    unanswered: Mapping[str, int]
    usable: int
    metrics: Mapping[str, float] | None

    @property
    def judged(self) -> int:
        """Trips that the metrics were computed on."""
        return self.usable if self.metrics is not None else 0


def judge_answers(answered: DataFrame, recipe: CompiledRecipe, parts: Sequence[str]) -> dict[str, Judgement]:
    """Say how good the answers are, by part.

    Parameters
    ----------
    answered : DataFrame
        What `answer` gives, with a column ``part``.
    recipe : CompiledRecipe
    parts : sequence of str
        Those to say something about; one without rows has none.

    Returns
    -------
    dict of str to Judgement
    """
    from pyspark.sql import functions as F

    labelled = _with_label(answered, recipe)
    usable = F.col(LABEL).isNotNull()
    groups = (
        labelled.groupBy(PART, REASON)
        .agg(
            F.count("*").alias("n"),
            F.count(F.when(usable, 1)).alias("usable"),
            F.min(LABEL).alias("low"),
            F.max(LABEL).alias("high"),
        )
        .collect()
    )
    known = {row[PART]: row for row in groups if row[REASON] is None and row["usable"]}
    if recipe.recipe.task == "classification":
        known = {part: row for part, row in known.items() if row["low"] != row["high"]}
    judged = {}
    if known:
        kept = labelled.where(F.col(REASON).isNull() & usable & F.col(PART).isin(list(known)))
        scored = kept.select(PART, LABEL, F.array("score").alias(SCORES))
        rows = {part: row["usable"] for part, row in known.items()}
        judged = {
            part: MappingProxyType(dict(found.metrics))
            for (part, _), found in evaluate(scored, recipe.recipe.task, 1, rows).items()
        }
    return {part: _judgement([row for row in groups if row[PART] == part], judged.get(part)) for part in parts}


def _judgement(groups: Sequence[Row], metrics: Mapping[str, float] | None) -> Judgement:
    reasons = sorted((row for row in groups if row[REASON] is not None), key=lambda row: -row["n"])
    return Judgement(
        rows=sum(row["n"] for row in groups),
        unanswered=MappingProxyType({row[REASON]: row["n"] for row in reasons}),
        usable=sum(row["usable"] for row in groups if row[REASON] is None),
        metrics=metrics,
    )


def _with_label(answered: DataFrame, recipe: CompiledRecipe) -> DataFrame:
    """Part, reason, score and label; the label is null where a trip breaks a rule of training."""
    from pyspark.sql import functions as F

    number = PROBABILITY if recipe.recipe.task == "classification" else PREDICTION
    label = F.when(broken_in_training(recipe.rules).isNull(), label_value(recipe))
    return answered.select(PART, REASON, F.col(number).alias("score"), label.alias(LABEL))
