"""Months of trips through the version in production: every trip with its answer, or with the reason for none."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from taxiway.destination import Destination, open_destination
from taxiway.errors import RecipeError, Refused, UsageError
from taxiway.evaluation import HOLDOUT, PART, SCORES, evaluate
from taxiway.features import LABEL, label_value
from taxiway.java_faults import in_our_words
from taxiway.pipeline import PREDICTION, PROBABILITY, score_column
from taxiway.production import Production, downloaded
from taxiway.progress import Progress, Silent
from taxiway.settings import Settings, load_settings
from taxiway.sharing import check_shared
from taxiway.spark_paths import spark_path
from taxiway.trips.checking import CheckedTrips, check_trips
from taxiway.trips.findings import check_records, total
from taxiway.trips.months import Month, describe_months, parse_months
from taxiway.trips.quality import broken_at_scoring, broken_in_training, warn_of_rejections
from taxiway.trips.schema import COLOUR, MONTH, layout_of
from taxiway.trips.source import check_seen
from taxiway.versions import Version, parse_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

    from taxiway.recipes import CompiledRecipe

REASON = "reason"
MODEL_NAME, MODEL_VERSION, RUN_ID = "model_name", "model_version", "run_id"
NO_NUMBER = "score_is_a_number"
"""The reason of a trip that breaks no rule and still makes the model answer infinity or nothing."""

_ADDED = (PREDICTION, PROBABILITY, REASON, MODEL_NAME, MODEL_VERSION, RUN_ID)
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
    version : int
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
    version: int
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
    recipe_name: str,
    months: str | Sequence[Month],
    out: str | Path,
    *,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Scoring:
    """Score months of trips with the version in production.

    Parameters
    ----------
    recipe_name : str
        Name of the registered model, which is its recipe's. The recipe is taken from the run
        that trained the version, so that a recipe file of one's own is not needed.
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
        Months that cannot be understood, or a version named: production decides. On a cluster, a
        place that its executors do not see.
    NotFound
        No version in production, files of it that are gone, or a month that is not published.
    BadData
        A file that cannot be read, or has too many values that cannot be read.
    MachineError
        `out` cannot be written.
    Refused
        Another scoring is writing to `out`, a partition there holds something else, or the version's
        files are not what training saves.
    """
    began = time.monotonic()
    name, number = parse_model(recipe_name)
    if number is not None:
        raise UsageError(
            f"'{recipe_name}' names a version, but scoring uses the one in production",
            f"taxiway promote {recipe_name} --to production, then taxiway score {name}",
        )
    wanted = parse_months(months)
    if not wanted:
        raise UsageError("No months were named", "Write for example green:2023-01..2023-02")
    options = settings or load_settings()
    check_shared(options)
    check_seen(options)
    with open_destination(out, options) as staging:
        for month in wanted:
            _check_owner(staging, partition_of(month), name)
        return _Job(name, wanted, staging, options, progress or Silent(), began).run()


@dataclass(frozen=True)
class _Job:
    """One scoring, from the version in production to published partitions."""

    name: str
    months: tuple[Month, ...]
    staging: Destination
    settings: Settings
    progress: Progress
    began: float

    def run(self) -> Scoring:
        from taxiway.spark import spark_session
        from taxiway.trips.source import fetch

        with downloaded(self.name, self.settings, self.progress) as found:
            _check_columns(found.recipe, self.months)
            layouts = found.recipe.recipe.layouts
            files = fetch(self.months, self.settings, layouts=layouts, progress=self.progress)
            # Last, when it is known that there is something to score, and how much.
            self.progress.begin(_STARTING)
            used = found.load(spark_session(self.settings, self.progress, rows=sum(item.rows for item in files)))
            self.progress.end(_STARTING)
        checked = check_trips(used.spark, files, layouts, used.recipe.reads)
        for note in checked.notes:
            self.progress.note(note)
        schema = self._write(used, checked)
        self.progress.begin(_JUDGING)
        written = _read_back(used, self.staging, self.months, schema)
        counts = _Counts.of(written, used.recipe)
        check_records(str(self.staging.out), sum(item.rows for item in files), counts.rows)
        for note in warn_of_rejections(describe_months(self.months), counts.rows, counts.unanswered):
            self.progress.note(note)
        metrics = _judge(written, used.recipe, counts)
        self.progress.end(_JUDGING)
        for month in self.months:
            self.staging.publish(partition_of(month))
        return Scoring(
            model=used.version.name,
            version=used.version.version,
            run_id=used.version.run_id,
            rows=counts.rows,
            answered=counts.rows - sum(counts.unanswered.values()),
            unanswered=MappingProxyType(dict(counts.unanswered)),
            unreadable=MappingProxyType(total(checked.unreadable)),
            metrics=metrics,
            judged=counts.usable if metrics else 0,
            training_metrics=_holdout_metrics(used.version),
            metric=used.recipe.recipe.chosen_metric,
            path=self.staging.out,
            months=self.months,
            synthetic=any(item.synthetic for item in files),
            seconds=time.monotonic() - self.began,
        )

    def _write(self, used: Production, checked: CheckedTrips) -> StructType:
        """Write each month into the staging folder; the columns written."""
        self.progress.begin(_TASK, len(checked.files))
        # A month is a job of its own: one job for all would have to sort every row by its month.
        for item in checked.files:
            answered = answer(checked.read(item), used).drop(COLOUR, MONTH)
            (
                self._gather(answered, item.rows, used)
                .write.option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false")
                .parquet(self.staging.address(partition_of(item.month)))
            )
            self.progress.advance(_TASK)
        self.progress.end(_TASK)
        return answered.schema

    def _gather(self, answered: DataFrame, rows: int, used: Production) -> DataFrame:
        """Bring a month into as many files as its place wants."""
        if not self.staging.one_file:
            return answered.coalesce(_files_for(rows, used))
        # All cores compute and one writes; for a small month the exchange costs more than it gains.
        return answered.coalesce(1) if rows < _LEAST_ROWS_PER_FILE else answered.repartition(1)


def answer(trips: DataFrame, used: Production) -> DataFrame:
    """Give every trip an answer, or the reason why there is none.

    Parameters
    ----------
    trips : DataFrame
        Canonical columns with ``colour`` and ``month``.
    used : Production

    Returns
    -------
    DataFrame
        The same rows and columns, then ``prediction``, ``probability`` (of label 1; for a
        classification alone), ``reason``, ``model_name``, ``model_version`` and ``run_id``.
        ``reason`` is null where there is a prediction, and the other way round.
    """
    from pyspark.sql import functions as F

    recipe, version = used.recipe.recipe, used.version
    number = score_column(recipe)
    # Infinity, NaN (greater than infinity to Spark) and null are no answers.
    finite = F.coalesce(F.abs(number) < F.lit(float("inf")), F.lit(False))
    reason = F.coalesce(broken_at_scoring(used.recipe.rules), F.when(~finite, F.lit(NO_NUMBER)))
    scored = used.model.transform(trips).select(
        *trips.columns, PREDICTION, number.alias(PROBABILITY), reason.alias(REASON)
    )
    answered = F.col(REASON).isNull()
    given = [PREDICTION, PROBABILITY] if recipe.task == "classification" else [PREDICTION]
    return scored.select(
        *trips.columns,
        *(F.when(answered, F.col(name)).alias(name) for name in given),
        REASON,
        F.lit(version.name).alias(MODEL_NAME),
        F.lit(version.version).alias(MODEL_VERSION),
        F.lit(version.run_id).alias(RUN_ID),
    )


def partition_of(month: Month) -> str:
    """The folder of a month's predictions, below the folder of all of them."""
    return f"{COLOUR}={month.colour}/{MONTH}={month.label}"


def _files_for(rows: int, used: Production) -> int:
    """Few files, and yet not one core at work while the others wait."""
    cores = used.spark.sparkContext.defaultParallelism
    return max(1, -(-rows // _ROWS_PER_FILE), min(cores, rows // _LEAST_ROWS_PER_FILE))


def _check_columns(recipe: CompiledRecipe, months: Sequence[Month]) -> None:
    """Refuse what would make one table of predictions impossible, before anything is downloaded."""
    layouts = {layout_of(month.colour, recipe.recipe.layouts).column_names() for month in months}
    if len(layouts) > 1:
        raise UsageError("These months have different columns and cannot be scored together", "Name one data set")
    columns = {column.name for layout in recipe.recipe.layouts.values() for column in layout.columns}
    if taken := sorted(columns.intersection(_ADDED)):
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


def _read_back(used: Production, staging: Destination, months: Sequence[Month], schema: StructType) -> DataFrame:
    """What was written, as the one source of all that is said about it; nothing is computed twice."""
    from pyspark.sql.types import StringType, StructField, StructType

    # Columns named here are not guessed: '2023-01' could be taken for a date.
    whole = StructType([*schema.fields, StructField(COLOUR, StringType()), StructField(MONTH, StringType())])
    reader = used.spark.read.schema(whole).option("basePath", staging.root)
    return reader.parquet(*(spark_path(staging.address(partition_of(month)), reading=True) for month in months))


@dataclass(frozen=True)
class _Counts:
    """What was written: rows, rows without an answer by reason, and rows that can be judged."""

    rows: int
    unanswered: Mapping[str, int]
    usable: int
    labels_differ: bool

    @classmethod
    def of(cls, written: DataFrame, recipe: CompiledRecipe) -> _Counts:
        from pyspark.sql import functions as F

        labelled = _with_label(written, recipe)
        usable = F.col(LABEL).isNotNull()
        groups = (
            labelled.groupBy(REASON)
            .agg(F.count("*").alias("n"), F.count(F.when(usable, 1)).alias("usable"), F.min(LABEL), F.max(LABEL))
            .collect()
        )
        found = {row[REASON]: row for row in groups}
        answered = found.pop(None, None)
        reasons = {name: row["n"] for name, row in sorted(found.items(), key=lambda item: -item[1]["n"])}
        return cls(
            rows=sum(row["n"] for row in groups),
            unanswered=reasons,
            usable=answered["usable"] if answered else 0,
            labels_differ=answered is not None and answered[3] != answered[4],
        )


def _with_label(written: DataFrame, recipe: CompiledRecipe) -> DataFrame:
    """Reason, score and label; the label is null where a trip breaks a rule of training."""
    from pyspark.sql import functions as F

    number = PROBABILITY if recipe.recipe.task == "classification" else PREDICTION
    label = F.when(broken_in_training(recipe.rules).isNull(), label_value(recipe))
    return written.select(REASON, F.col(number).alias("score"), label.alias(LABEL))


def _judge(written: DataFrame, recipe: CompiledRecipe, counts: _Counts) -> Mapping[str, float] | None:
    from pyspark.sql import functions as F

    task = recipe.recipe.task
    if not counts.usable or (task == "classification" and not counts.labels_differ):
        return None
    known = _with_label(written, recipe).where(f"{REASON} is null and {LABEL} is not null")
    scored = known.select(F.lit(_SCORED).alias(PART), LABEL, F.array("score").alias(SCORES))
    return MappingProxyType(dict(evaluate(scored, task, 1, {_SCORED: counts.usable})[_SCORED, 0].metrics))


def _holdout_metrics(version: Version) -> Mapping[str, float]:
    prefix = f"{HOLDOUT}_"
    found = {name.removeprefix(prefix): value for name, value in version.metrics.items() if name.startswith(prefix)}
    return MappingProxyType(found)
