"""Usable rows as features and labels: read, checked, shaped and cached once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from taxiway.errors import BadData, RecipeError, Refused, UsageError
from taxiway.evaluation import HOLDOUT, PART, TRAIN
from taxiway.features import LABEL, feature_column, feature_statement, label_value
from taxiway.pipeline import (
    FEATURES,
    MOST_CATEGORIES,
    assemble,
    is_one_hot,
    keep_frequent,
    labels_of,
    preparation_stages,
    slot_names,
)
from taxiway.recipes import CompiledRecipe, Recipe
from taxiway.trips.checking import check_trips
from taxiway.trips.findings import total
from taxiway.trips.months import Month, describe_months, parse_months
from taxiway.trips.quality import BROKEN_RULE, broken_in_training, warn_of_rejections
from taxiway.trips.schema import COLOUR, MONTH, layout_of

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import Column, DataFrame, Row, SparkSession

    from taxiway.trips.source import MonthFiles

FILE_MONTH = "file_month"
"""The month whose file a row came from, ``green:2023-01``."""

# Up to this many rows one partition holds them all: a fit is then repeatable to the last bit
# (sums of floating-point numbers depend on their order), and on two cores it is the fastest
# too, since each iteration is one task and whole fits run side by side.
_ROWS_PER_PARTITION = 500_000
# Of how many training rows trees are fitted without some categories, and of each of those rows without how many.
_HIDDEN_ROWS, _HIDDEN_FEATURES = 0.04, 0.5
_DRAWN, _DRAWS = "drawn", 1_000_000


@dataclass(frozen=True)
class Split:
    """Which months are learned from and which are held out.

    Parameters
    ----------
    train, holdout : tuple of Month
        Every month of the holdout is later than every month of training.
    """

    train: tuple[Month, ...]
    holdout: tuple[Month, ...]


def split_months(recipe: Recipe, train: Any, holdout: Any = None) -> Split:
    """Decide which months train and which are held out.

    Parameters
    ----------
    recipe : Recipe
        Its ``holdout_months`` apply where no holdout is named.
    train, holdout : str or sequence of Month
        As `parse_months` reads them.

    Raises
    ------
    UsageError
        Too few months to hold any out.
    Refused
        A holdout that overlaps the training months or is not later than all of them.
    """
    months = tuple(sorted(_months_of(recipe, train), key=lambda month: (month.start, month.colour)))
    if holdout is None:
        times = sorted({month.start for month in months})
        kept = min(recipe.holdout_months, len(times) - 1)
        if kept < 1:
            raise UsageError("One month cannot be split in time", "Name later months with --holdout")
        held = tuple(month for month in months if month.start in times[-kept:])
        return Split(tuple(month for month in months if month not in held), held)
    held = tuple(sorted(_months_of(recipe, holdout), key=lambda month: (month.start, month.colour)))
    both = sorted(set(months) & set(held))
    if both:
        raise Refused(
            f"{describe_months(both)} stands in both training and holdout", "Hold out months that are not trained on"
        )
    if min(month.start for month in held) <= max(month.start for month in months):
        raise Refused(
            f"The holdout {describe_months(held)} is not later than the training months {describe_months(months)}",
            "Hold out later months: a model is used on trips that come after it",
        )
    return Split(months, held)


def _months_of(recipe: Recipe, text: Any) -> tuple[Month, ...]:
    months = parse_months(text)
    for month in months:
        layout_of(month.colour, recipe.layouts)
    return months


@dataclass(frozen=True)
class Table:
    """Usable rows as features and labels, computed once and cached.

    Parameters
    ----------
    computed : DataFrame
        What is cached: the columns of every row, usable or not.
    columns : DataFrame
        ``part``, ``label`` and one column for each feature, of the usable rows.
    vectors : mapping of str to DataFrame
        ``part``, ``label`` and the vector ``features``, by part.
    fitting : DataFrame
        The training rows as estimators are fitted to them: of indexed categories, some are hidden.
    pipeline : PipelineModel
        The fitted stages from raw trip to vector.
    slots : tuple of (feature, slot)
        What each slot of the vector holds.
    categories : mapping of str to int
        How many values each indexed feature can have, 'unknown' included; empty where categories are one-hot.
    rows, rejected : mapping of str to int
        Usable rows by part; the others by rule.
    example : list of mapping
        A few raw rows, for MLflow's input example.
    unreadable : mapping of str to int
        Values by column that stood in the files and could not be read: they are null.
    notes : tuple of str
        What a user should know of these trips, a sentence each.
    """

    computed: DataFrame
    columns: DataFrame
    vectors: Mapping[str, DataFrame]
    fitting: DataFrame
    pipeline: PipelineModel
    slots: tuple[tuple[str, str], ...]
    categories: Mapping[str, int]
    rows: Mapping[str, int]
    rejected: Mapping[str, int]
    example: Sequence[Mapping[str, Any]]
    unreadable: Mapping[str, int]
    notes: tuple[str, ...]

    def release(self) -> None:
        """Give the cached memory back."""
        from py4j.protocol import Py4JError

        for frame in (self.computed, *self.vectors.values(), self.fitting):
            # Where Spark itself is gone there is nothing to give back, and an error here would
            # hide the one that ended it.
            with suppress(Py4JError, OSError):
                frame.unpersist()

    @classmethod
    def prepare(
        cls,
        spark: SparkSession,
        compiled: CompiledRecipe,
        split: Split,
        files: Sequence[MonthFiles],
        estimator: str,
    ) -> Table:
        """Read, check and shape the rows of a split, as an estimator of the recipe is shown them.

        Raises
        ------
        BadData
            A part without usable rows, a label of one class only, a feature that is always null.
        RecipeError
            A classification with a label that is neither 0 nor 1.
        """
        from pyspark.sql import functions as F

        checked = check_trips(spark, files, compiled.recipe.layouts, compiled.reads)
        trips = checked.read()
        computed = compute_features(trips, compiled, split).cache()
        counted = _count(computed, compiled)
        rows, rejected = _check_counts(counted, compiled.recipe)
        columns = computed.where(f"{BROKEN_RULE} is null").drop(BROKEN_RULE, FILE_MONTH)
        fitted = _fit_preparation(columns, compiled, estimator, rows[TRAIN])
        parts = {part: columns.where(F.col(PART) == part) for part in rows}
        vectors = {part: _gather(_shaped(frame, fitted), rows[part]) for part, frame in parts.items()}
        categories = {} if is_one_hot(fitted) else _sizes(fitted, compiled)
        hidden = _gather(_shaped(parts[TRAIN], fitted, hide=True), rows[TRAIN]) if categories else vectors[TRAIN]
        example = trips.select(*compiled.columns).dropna().limit(3).collect()
        return cls(
            computed=computed,
            columns=columns,
            vectors=vectors,
            fitting=hidden,
            pipeline=fitted,
            slots=slot_names(fitted, compiled),
            categories=categories,
            rows=rows,
            rejected=rejected,
            example=[row.asDict() for row in example],
            unreadable=total(checked.unreadable),
            notes=(*_odd_months(counted), *checked.notes),
        )


def compute_features(trips: DataFrame, compiled: CompiledRecipe, split: Split) -> DataFrame:
    """Features, label, part and broken rule of every trip.

    Parameters
    ----------
    trips : DataFrame
        Canonical columns with ``colour`` and ``month``.
    compiled : CompiledRecipe
    split : Split

    Returns
    -------
    DataFrame
        ``part`` ('train' or 'holdout'), ``label`` (double), ``rejected_by`` (null for a usable
        row), ``file_month`` (``green:2023-01``) and one ``feature_…`` column for each feature.
    """
    from pyspark.ml.feature import SQLTransformer
    from pyspark.sql import functions as F

    held = [month.label for month in split.holdout]
    marked = trips.select(
        "*",
        F.when(F.col(MONTH).isin(held), HOLDOUT).otherwise(TRAIN).alias(PART),
        label_value(compiled).alias(LABEL),
        broken_in_training(compiled.rules).alias(BROKEN_RULE),
    )
    shaped = SQLTransformer(statement=feature_statement(compiled)).transform(marked)
    usable = F.when(F.col(LABEL).isNull(), F.coalesce(BROKEN_RULE, F.lit("label_known"))).otherwise(F.col(BROKEN_RULE))
    names = [feature_column(name) for name in compiled.recipe.inputs]
    month = F.concat_ws(":", COLOUR, MONTH).alias(FILE_MONTH)
    return shaped.select(PART, LABEL, usable.alias(BROKEN_RULE), month, *names)


def _gather(frame: DataFrame, rows: int) -> DataFrame:
    return frame.coalesce(-(-rows // _ROWS_PER_PARTITION)).cache()


def _fit_preparation(columns: DataFrame, compiled: CompiledRecipe, estimator: str, rows: int) -> PipelineModel:
    """Fit the encoders on training rows, and put the feature statement before them."""
    from pyspark.ml import Pipeline, Transformer
    from pyspark.sql import functions as F

    statement, *stages = preparation_stages(compiled, estimator)
    fitted = Pipeline(stages=stages).fit(columns.where(F.col(PART) == TRAIN)).stages
    if not is_one_hot(assemble(fitted)):
        # Spark's trees refuse a feature with more values than there are rows.
        most = min(MOST_CATEGORIES, rows)
        fitted = keep_frequent(fitted, most)
    # The statement learns nothing: it is fitted as it is.
    return assemble([cast(Transformer, statement), *fitted])


def _shaped(columns: DataFrame, fitted: PipelineModel, hide: bool = False) -> DataFrame:
    """``part``, ``label`` and the vector ``features`` of computed columns; with some categories hidden, if asked."""
    from pyspark.ml.feature import StringIndexerModel

    *stages, assembler = fitted.stages[1:]
    unknown: dict[str, int] = {}
    for stage in stages:
        columns = stage.transform(columns)
        if isinstance(stage, StringIndexerModel):
            unknown |= zip(stage.getOutputCols(), map(len, stage.labelsArray), strict=True)
    if hide:
        columns = hide_some(columns, unknown)
    return assembler.transform(columns).select(PART, LABEL, FEATURES)


def hide_some(frame: DataFrame, unknown: Mapping[str, int]) -> DataFrame:
    """Make some of the indexed categories unknown, so that trees learn what to answer for one they do not know.

    A category that no row of a node has goes to the side of the largest labels in Spark, at every split: the trip
    from a zone that is not told would be the longest of all. Rows are drawn first and then their features, so that
    trees see one, several and all categories missing.

    Parameters
    ----------
    frame : DataFrame
    unknown : mapping of str to int
        The columns of indexed categories, and the number that stands for 'unknown' in each.
    """
    from pyspark.sql import functions as F

    def chosen(seed: int, share: float) -> Column:
        return F.pmod(F.xxhash64(_DRAWN, F.lit(seed)), F.lit(_DRAWS)) < int(share * _DRAWS)

    # Drawn by what a row says, not by where it lies: the same rows on any number of cores.
    drawn = frame.withColumn(_DRAWN, F.xxhash64(*frame.columns))
    for seed, (column, number) in enumerate(unknown.items(), 1):
        hidden = chosen(0, _HIDDEN_ROWS) & chosen(seed, _HIDDEN_FEATURES)
        value = F.when(hidden, float(number)).otherwise(F.col(column))
        # What the indexer says of its column: that these are categories, and how many.
        drawn = drawn.withColumn(column, value).withMetadata(column, frame.schema[column].metadata)
    return drawn.drop(_DRAWN)


def _sizes(fitted: PipelineModel, compiled: CompiledRecipe) -> dict[str, int]:
    return {name: len(labels) + 1 for name, labels in labels_of(fitted, compiled).items()}


def _count(computed: DataFrame, compiled: CompiledRecipe) -> list[Row]:
    """Rows of each part and month by the rule that they break; of labels and features what has to be known."""
    from pyspark.sql import functions as F

    names = [feature_column(name) for name in compiled.recipe.inputs]
    return (
        computed.groupBy(PART, FILE_MONTH, BROKEN_RULE)
        .agg(
            F.count("*").alias("n"),
            F.min(LABEL).alias("low"),
            F.max(LABEL).alias("high"),
            F.max(F.when(~F.col(LABEL).isin(0.0, 1.0), F.col(LABEL))).alias("odd"),
            *(F.count(name).alias(name) for name in names),
        )
        .collect()
    )


def _check_counts(counted: Sequence[Row], recipe: Recipe) -> tuple[dict[str, int], dict[str, int]]:
    """Usable rows by part and unusable ones by rule; refuses what nothing can be learned from."""
    rejected: Counter[str] = Counter()
    for row in counted:
        if row[BROKEN_RULE] is not None:
            rejected[row[BROKEN_RULE]] += row["n"]
    rows = {}
    for part in (TRAIN, HOLDOUT):
        usable = [row for row in counted if row[PART] == part and row[BROKEN_RULE] is None]
        rows[part] = sum(row["n"] for row in usable)
        if not usable:
            raise BadData(f"No row of the {part} months is usable", f"Rejected by: {_worst(rejected)}")
        odd = [row["odd"] for row in usable if row["odd"] is not None]
        if recipe.task == "classification" and odd:
            raise RecipeError(
                f"The label of '{recipe.name}' is {max(odd):g} on a row of the {part} months; "
                "of a classification it is 0 or 1",
                "Make it a condition, such as tip_amount > 0, or the task 'regression'",
            )
        if recipe.task == "classification" and min(r["low"] for r in usable) == max(r["high"] for r in usable):
            raise BadData(
                f"All {rows[part]:,} usable rows of the {part} months have the same label",
                "Choose other months, or more of them",
            )
        for name in recipe.inputs if part == TRAIN else ():
            if not any(row[feature_column(name)] for row in usable):
                raise BadData(
                    f"The feature '{name}' is null in all training rows", "Leave it out, or train on other months"
                )
    return rows, dict(rejected.most_common())


def _odd_months(counted: Sequence[Row]) -> Iterator[str]:
    for month in sorted({row[FILE_MONTH] for row in counted}):
        mine = [row for row in counted if row[FILE_MONTH] == month]
        rejected = {row[BROKEN_RULE]: row["n"] for row in mine if row[BROKEN_RULE] is not None}
        yield from warn_of_rejections(month, sum(row["n"] for row in mine), rejected)


def _worst(rejected: Mapping[str, int]) -> str:
    found = sorted(rejected.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{name} ({count:,})" for name, count in found) or "nothing, there are no rows"
