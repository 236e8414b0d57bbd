"""Months of trips through the version in production: every trip with its answer, or with the reason for none."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from taxiway.destination import Destination, open_destination
from taxiway.downloads import load_model
from taxiway.errors import RecipeError, Refused, UsageError
from taxiway.evaluation import PART
from taxiway.java_faults import in_our_words
from taxiway.model import Model
from taxiway.predictions import ADDED, MODEL_NAME, answer, judge_answers, load_pipeline
from taxiway.progress import Progress, Silent
from taxiway.references import parse_reference
from taxiway.settings import Settings, load_settings
from taxiway.sharing import check_shared
from taxiway.spark_paths import spark_path
from taxiway.trips.checking import CheckedTrips, check_trips
from taxiway.trips.findings import check_records, total
from taxiway.trips.months import Month, describe_months, parse_months
from taxiway.trips.quality import warn_of_rejections
from taxiway.trips.schema import COLOUR, MONTH, layout_of
from taxiway.trips.source import check_seen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.ml import PipelineModel
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from taxiway.recipes import CompiledRecipe

_SCORED = "scored"
_STARTING, _TASK, _JUDGING = "Loading the model", "Scoring trips", "Comparing with what happened"
_ROWS_PER_FILE = 5_000_000
# More files than that only where there are cores to write them side by side.
_LEAST_ROWS_PER_FILE = 1_000_000


@dataclass(frozen=True)
class Scoring:
    """What a scoring did.

    Parameters
    ----------
    model : str
        Name of the registered model.
    version : int or None
    run_id : str
        The run that trained the version.
    rows : int
        Trips read, all of them written.
    answered : int
        Those with a prediction.
    unanswered : mapping of str to int
        The others, by the rule that they break.
    unreadable : mapping of str to int
        Values by column that stood in the files and could not be read: to the model they are unknown.
    metrics : mapping of str to float or None
        How good the answers are, on trips that meet the rules of training; None where no label
        is known, or all labels are the same.
    judged : int
        Trips that `metrics` were computed on.
    training_metrics : mapping of str to float
        The same metrics on the holdout months of the version's training.
    metric : str
        The one that the recipe decides by.
    path : Path or str
        The folder, or the address, with a partition for each month: ``colour=green/month=2023-01``.
    months : tuple of Month
    synthetic : bool
        Whether any of the trips are synthetic.
    seconds : float
    """

    model: str
    version: int | None
    run_id: str
    rows: int
    answered: int
    unanswered: Mapping[str, int]
    unreadable: Mapping[str, int]
    metrics: Mapping[str, float] | None
    judged: int
    training_metrics: Mapping[str, float]
    metric: str
    path: Path | str
    months: tuple[Month, ...]
    synthetic: bool
    seconds: float

    @property
    def partitions(self) -> tuple[str, ...]:
        """The path of each month's predictions, as ``spark.read.parquet`` takes it."""
        return tuple(spark_path(f"{self.path}/{partition_of(month)}", reading=True) for month in self.months)


@in_our_words
def score(
    model: str | Model,
    months: str | Sequence[Month],
    out: str | Path,
    *,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Scoring:
    """Score months of trips with a model, the version in production unless another one is named.

    Parameters
    ----------
    model : str or Model
        As `load_model` reads it: ``tip`` for the version in production, ``tip/3``, ``tip@staging``; or what it gave.
        The recipe is taken from the run that trained the version, so that a recipe file of one's own is not needed.
    months : str or sequence of Month
        ``yellow:2019-01`` or a range.
    out : str or Path
        A folder, or a bucket as ``s3a://bucket/folder``; on a cluster one that executors see. Each
        month's partition is replaced whole, once all months are scored; others stay as they are.
    settings : Settings, optional
        Read from the environment by default.
    progress : Progress, optional

    Returns
    -------
    Scoring
        The files hold the trip's canonical columns, ``prediction`` (0 or 1, or the number),
        ``probability`` (of label 1; for a classification alone), ``reason`` (why there is no
        prediction; null where there is one), ``model_name``, ``model_version`` and ``run_id``.

    Raises
    ------
    UsageError
        Months that cannot be understood, or no reference of a model. On a cluster, a place that its executors do
        not see.
    NotFound
        No such version, files of it that are gone, or a month that is not published.
    BadData
        A file that cannot be read, or has too many values that cannot be read.
    MachineError
        `out` cannot be written.
    Refused
        Another scoring is writing to `out`, a partition there holds something else, or the version's
        files are not what training saves.
    """
    began = time.monotonic()
    name = model.name if isinstance(model, Model) else parse_reference(model).name
    wanted = parse_months(months)
    if not wanted:
        raise UsageError("No months were named", "Write for example green:2023-01..2023-02")
    options = settings or load_settings()
    check_shared(options)
    check_seen(options)
    with open_destination(out, options) as staging:
        for month in wanted:
            _check_owner(staging, partition_of(month), name)
        return _Job(model, wanted, staging, options, progress or Silent(), began).run()


@dataclass(frozen=True)
class _Job:
    """One scoring, from a model to published partitions."""

    model: str | Model
    months: tuple[Month, ...]
    staging: Destination
    settings: Settings
    progress: Progress
    began: float

    def run(self) -> Scoring:
        from pyspark.sql import functions as F

        from taxiway.spark import spark_session
        from taxiway.trips.source import fetch

        model = self.model
        if not isinstance(model, Model):
            model = load_model(model, self.settings, self.progress)
        layouts = model.recipe.recipe.layouts
        _check_columns(model.recipe, self.months)
        files = fetch(self.months, self.settings, layouts=layouts, progress=self.progress)
        # Last, when it is known that there is something to score, and how much.
        self.progress.begin(_STARTING)
        spark = spark_session(self.settings, self.progress, rows=sum(item.rows for item in files))
        pipeline = load_pipeline(model, self.settings)
        self.progress.end(_STARTING)
        checked = check_trips(spark, files, layouts, model.recipe.reads)
        for note in checked.notes:
            self.progress.note(note)
        schema = self._write(model, pipeline, checked)
        self.progress.begin(_JUDGING)
        written = _read_back(spark, self.staging, self.months, schema)
        found = judge_answers(written.withColumn(PART, F.lit(_SCORED)), model.recipe, [_SCORED])[_SCORED]
        check_records(str(self.staging.out), sum(item.rows for item in files), found.rows)
        for note in warn_of_rejections(describe_months(self.months), found.rows, found.unanswered):
            self.progress.note(note)
        self.progress.end(_JUDGING)
        for month in self.months:
            self.staging.publish(partition_of(month))
        return Scoring(
            model=model.name,
            version=model.version,
            run_id=model.run_id,
            rows=found.rows,
            answered=found.rows - sum(found.unanswered.values()),
            unanswered=found.unanswered,
            unreadable=MappingProxyType(total(checked.unreadable)),
            metrics=found.metrics,
            judged=found.judged,
            training_metrics=model.training_metrics,
            metric=model.recipe.recipe.chosen_metric,
            path=self.staging.out,
            months=self.months,
            synthetic=any(item.synthetic for item in files),
            seconds=time.monotonic() - self.began,
        )

    def _write(self, model: Model, pipeline: PipelineModel, checked: CheckedTrips) -> StructType:
        """Write each month into the staging folder; the columns written."""
        self.progress.begin(_TASK, len(checked.files))
        # A month is a job of its own: one job for all would have to sort every row by its month.
        for item in checked.files:
            answered = answer(checked.read(item), model, pipeline).drop(COLOUR, MONTH)
            (
                self._gather(answered, item.rows)
                .write.option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false")
                .parquet(self.staging.address(partition_of(item.month)))
            )
            self.progress.advance(_TASK)
        self.progress.end(_TASK)
        return answered.schema

    def _gather(self, answered: DataFrame, rows: int) -> DataFrame:
        """Bring a month into as many files as its place wants."""
        if not self.staging.one_file:
            return answered.coalesce(_files_for(answered.sparkSession, rows))
        # All cores compute and one writes; for a small month the exchange costs more than it gains.
        return answered.coalesce(1) if rows < _LEAST_ROWS_PER_FILE else answered.repartition(1)


def partition_of(month: Month) -> str:
    """The folder of a month's predictions, below the folder of all of them."""
    return f"{COLOUR}={month.colour}/{MONTH}={month.label}"


def _files_for(spark: SparkSession, rows: int) -> int:
    """Few files, and yet not one core at work while the others wait."""
    cores = spark.sparkContext.defaultParallelism
    return max(1, -(-rows // _ROWS_PER_FILE), min(cores, rows // _LEAST_ROWS_PER_FILE))


def _check_columns(recipe: CompiledRecipe, months: Sequence[Month]) -> None:
    """Refuse what would make one table of predictions impossible, before anything is downloaded."""
    layouts = {layout_of(month.colour, recipe.recipe.layouts).column_names() for month in months}
    if len(layouts) > 1:
        raise UsageError("These months have different columns and cannot be scored together", "Name one data set")
    columns = {column.name for layout in recipe.recipe.layouts.values() for column in layout.columns}
    if taken := sorted(columns.intersection(ADDED)):
        raise RecipeError(
            f"The rows of '{recipe.recipe.name}' have a column '{taken[0]}', which is one that scoring adds",
            "Give it another canonical name in the recipe's layout, and train again",
        )


def _check_owner(staging: Destination, partition: str, name: str) -> None:
    """Replace nothing but predictions of the same model."""
    for file, opened in staging.former(partition):
        owner = _owner(opened)
        if owner == name:
            continue
        holds = f"predictions of '{owner}'" if owner else f"{file}, which is not a prediction"
        place = f"{staging.out}/{partition}"
        raise Refused(f"{place} holds {holds} and would be replaced", "Choose another folder with --out")


def _owner(file: Any) -> str:
    """The model whose predictions a file holds; empty if it holds none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as opened:
            first = next(opened.iter_batches(batch_size=1, columns=[MODEL_NAME]))
    except (pa.ArrowInvalid, OSError, StopIteration):
        return ""
    return str(first.column(0)[0]) if first.num_columns else ""


def _read_back(spark: SparkSession, staging: Destination, months: Sequence[Month], schema: StructType) -> DataFrame:
    """What was written, as the one source of all that is said about it; nothing is computed twice."""
    from pyspark.sql.types import StringType, StructField, StructType

    # Columns named here are not guessed: '2023-01' could be taken for a date.
    whole = StructType([*schema.fields, StructField(COLOUR, StringType()), StructField(MONTH, StringType())])
    reader = spark.read.schema(whole).option("basePath", staging.root)
    return reader.parquet(*(spark_path(staging.address(partition_of(month)), reading=True) for month in months))
