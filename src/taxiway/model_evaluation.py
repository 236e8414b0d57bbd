"""How good a model is on months of trips, whichever months they are."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from taxiway.downloads import load_model
from taxiway.errors import UsageError
from taxiway.evaluation import PART
from taxiway.java_faults import in_our_words
from taxiway.model import Model
from taxiway.predictions import Judgement, answer, judge_answers, load_pipeline
from taxiway.progress import Progress, Silent
from taxiway.settings import Settings, load_settings
from taxiway.sharing import check_shared
from taxiway.trips.checking import CheckedTrips, check_trips
from taxiway.trips.findings import check_records, total
from taxiway.trips.months import Month, describe_months, parse_months
from taxiway.trips.quality import warn_of_rejections
from taxiway.trips.schema import COLOUR, MONTH
from taxiway.trips.source import check_seen

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_ALL = "all"
_STARTING, _JUDGING = "Loading the model", "Evaluating the model"


@dataclass(frozen=True)
class MonthEvaluation:
    """How good a model is on one month.

    Parameters
    ----------
    month : Month
    rows : int
        Trips read.
    judged : int
        Those of them that the metrics were computed on: answered, usable by the rules of training, and with a label.
    metrics : mapping of str to float or None
        None where no label is known, or all labels of a classification are the same.
    """

    month: Month
    rows: int
    judged: int
    metrics: Mapping[str, float] | None


@dataclass(frozen=True)
class ModelEvaluation:
    """How good a model is on months of trips.

    Parameters
    ----------
    model : str
        The registered model's name.
    version : int or None
    run_id : str
        The run that trained the version.
    metric : str
        The one that the recipe decides by.
    higher_is_better : bool
    rows, judged : int
        As of a month, of all months together.
    metrics : mapping of str to float or None
    months : tuple of MonthEvaluation
        In the order of the calendar.
    training_metrics : mapping of str to float
        The same metrics on the holdout months of its training.
    unanswered : mapping of str to int
        Trips without an answer, by the rule that they break.
    unreadable : mapping of str to int
        Values by column that stood in the files and could not be read: to the model they are unknown.
    synthetic : bool
        Whether any of the trips are made up.
    seconds : float
    """

    model: str
    version: int | None
    run_id: str
    metric: str
    higher_is_better: bool
    rows: int
    judged: int
    metrics: Mapping[str, float] | None
    months: tuple[MonthEvaluation, ...]
    training_metrics: Mapping[str, float]
    unanswered: Mapping[str, int]
    unreadable: Mapping[str, int]
    synthetic: bool
    seconds: float


@in_our_words
def evaluate_model(
    model: str | Model,
    months: str | Sequence[Month],
    *,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> ModelEvaluation:
    """Judge a model on months of trips; nothing is written.

    Parameters
    ----------
    model : str or Model
        As `load_model` reads it, ``tip/3`` or ``tip@production``; or what it gave.
    months : str or sequence of Month
        ``yellow:2019-01`` or a range.
    settings : Settings, optional
        Read from the environment by default.
    progress : Progress, optional

    Returns
    -------
    ModelEvaluation

    Raises
    ------
    UsageError
        Months that cannot be understood, or no reference of a model.
    NotFound
        No such version, files of it that are gone, or a month that is not published.
    BadData
        A file that cannot be read, or has too many values that cannot be read.
    Refused
        The version's files are not what training saves.
    """
    from taxiway.spark import spark_session
    from taxiway.trips.source import fetch

    began = time.monotonic()
    wanted = parse_months(months)
    if not wanted:
        raise UsageError("No months were named", "Write for example green:2023-01..2023-02")
    options, watch = settings or load_settings(), progress or Silent()
    check_shared(options)
    check_seen(options)
    if not isinstance(model, Model):
        model = load_model(model, options, watch)
    layouts = model.recipe.recipe.layouts
    files = fetch(wanted, options, layouts=layouts, progress=watch)
    watch.begin(_STARTING)
    spark = spark_session(options, watch, rows=sum(item.rows for item in files))
    pipeline = load_pipeline(model, options)
    watch.end(_STARTING)
    checked = check_trips(spark, files, layouts, model.recipe.reads)
    for note in checked.notes:
        watch.note(note)
    watch.begin(_JUDGING)
    answered = answer(checked.read(), model, pipeline)
    found = _judge(answered, model, wanted)
    watch.end(_JUDGING)
    check_records(describe_months(wanted), sum(item.rows for item in files), found[_ALL].rows)
    for note in warn_of_rejections(describe_months(wanted), found[_ALL].rows, found[_ALL].unanswered):
        watch.note(note)
    return _evaluation(model, checked, wanted, found, time.monotonic() - began)


def _judge(answered: DataFrame, model: Model, months: Sequence[Month]) -> dict[str, Judgement]:
    """Judge each month and all of them together, from one pass through the model."""
    from pyspark.sql import functions as F

    parts = F.array(F.concat_ws(":", COLOUR, MONTH), F.lit(_ALL))
    kept = answered.cache()
    try:
        return judge_answers(kept.withColumn(PART, F.explode(parts)), model.recipe, [*map(str, months), _ALL])
    finally:
        kept.unpersist()


def _evaluation(
    model: Model, checked: CheckedTrips, months: Sequence[Month], found: Mapping[str, Judgement], seconds: float
) -> ModelEvaluation:
    recipe, whole = model.recipe.recipe, found[_ALL]
    return ModelEvaluation(
        model=model.name,
        version=model.version,
        run_id=model.run_id,
        metric=recipe.chosen_metric,
        higher_is_better=recipe.higher_is_better,
        rows=whole.rows,
        judged=whole.judged,
        metrics=whole.metrics,
        months=tuple(
            MonthEvaluation(month, found[str(month)].rows, found[str(month)].judged, found[str(month)].metrics)
            for month in months
        ),
        training_metrics=model.training_metrics,
        unanswered=whole.unanswered,
        unreadable=MappingProxyType(total(checked.unreadable)),
        synthetic=any(item.synthetic for item in checked.files),
        seconds=seconds,
    )
