"""Train a recipe: split in time, fit a sweep, judge it, record it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxiway.errors import TaxiwayError, UsageError
from taxiway.evaluation import HOLDOUT, PART, SCORES, TRAIN, Evaluation, evaluate
from taxiway.features import LABEL
from taxiway.java_faults import in_our_words
from taxiway.leakage import AuditData, FeatureAudit, audit, coarse, with_score
from taxiway.parallel import meanwhile, side_by_side
from taxiway.pipeline import MOST_CATEGORIES, build_estimator, score_column
from taxiway.preparation import Split, Table, split_months
from taxiway.progress import Progress, Silent
from taxiway.recipes import CompiledRecipe, Recipe, load_recipe
from taxiway.search import Candidate, Search
from taxiway.settings import Settings, load_settings
from taxiway.sharing import check_shared
from taxiway.trips.months import Month

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from taxiway.trips.source import MonthFiles


@dataclass(frozen=True)
class TrainedRun:
    """One candidate, as recorded in MLflow.

    Parameters
    ----------
    run_id : str
    params : mapping of str to object
        Estimator and hyper-parameters.
    metrics : mapping of str to float
        ``train_…`` and ``holdout_…``.
    """

    run_id: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Training:
    """What a training found.

    Parameters
    ----------
    recipe : str
    parent_run_id, best_run_id : str
        Runs in MLflow.
    metric : str
        ``holdout_roc_auc``, say: what the best run was chosen by.
    runs : tuple of TrainedRun
        Best first.
    leakage : tuple of FeatureAudit
    rows : mapping of str to int
        Usable rows, ``train`` and ``holdout``.
    rejected : mapping of str to int
        Unusable rows by the rule they break, training and holdout together.
    unreadable : mapping of str to int
        Values by column that stood in the files and could not be read: they are null.
    synthetic : bool
        Whether any of the trips are synthetic.
    seconds : float
        From the start of reading to the last record.
    experiment_id : str
        MLflow's id of the recipe's experiment.
    higher_is_better : bool
        Which end of the metric is the better one.
    """

    recipe: str
    parent_run_id: str
    best_run_id: str
    metric: str
    runs: tuple[TrainedRun, ...]
    leakage: tuple[FeatureAudit, ...]
    rows: Mapping[str, int]
    rejected: Mapping[str, int]
    unreadable: Mapping[str, int]
    synthetic: bool
    seconds: float
    experiment_id: str = ""
    higher_is_better: bool = True

    @property
    def best(self) -> TrainedRun:
        """The run that was chosen."""
        return self.runs[0]


@in_our_words
def train(
    recipe: str | Path | Recipe,
    train: str | Sequence[Month],
    holdout: str | Sequence[Month] | None = None,
    *,
    estimator: str | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
    trials: int | None = None,
    seed: int = 0,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Training:
    """Train a recipe's candidates, choose the best on later months, and record all of it.

    Parameters
    ----------
    recipe : str or Path or Recipe
        Name of a built-in recipe, a Python file, or a recipe.
    train, holdout : str or sequence of Month
        ``yellow:2018-01..2018-10``. Without a holdout the recipe's last months are held out.
    estimator : str, optional
        One of the recipe's estimators; the first by default.
    grid : mapping of str to sequence, optional
        Values to try instead of the recipe's sweep, every combination.
    trials : int, optional
        Let Optuna choose this many candidates in the recipe's search space.
    seed : int
        For whatever draws; the same data and seed give the same numbers.
    settings : Settings, optional
        Read from the environment by default.
    progress : Progress, optional

    Returns
    -------
    Training

    Raises
    ------
    Refused
        Overlapping months, or another training on the same store.
    BadData
        No usable rows, or labels of one class only.
    RecipeError
        A classification with a label that is neither 0 nor 1.
    UsageError
        On a cluster: nothing is set that its executors share with this machine, or they do not see the trips.
    """
    began = time.monotonic()
    watch = progress or Silent()
    options = settings or load_settings()
    compiled = load_recipe(recipe)
    split = split_months(compiled.recipe, train, holdout)
    search = Search.plan(compiled.recipe, estimator, grid, trials, seed)
    return _Job(compiled, split, search, seed, options, watch, began).run()


class _Job:
    """One training, from files to recorded runs."""

    def __init__(
        self,
        compiled: CompiledRecipe,
        split: Split,
        search: Search,
        seed: int,
        settings: Settings,
        progress: Progress,
        began: float,
    ) -> None:
        self.compiled = compiled
        self.recipe = compiled.recipe
        self.split = split
        self.search = search
        self.seed = seed
        self.settings = settings
        self.progress = progress
        self.began = began

    def run(self) -> Training:
        from taxiway.store import training_lock
        from taxiway.trips.source import check_seen, fetch

        check_shared(self.settings)
        check_seen(self.settings)
        with training_lock(self.settings):
            files = fetch(
                [*self.split.train, *self.split.holdout],
                self.settings,
                layouts=self.recipe.layouts,
                progress=self.progress,
            )
            client, spark = _connect_both(self.settings, self.progress, sum(item.rows for item in files))
            with self._step("Preparing trips"):
                table = Table.prepare(spark, self.compiled, self.split, files, self.search.estimator.name)
            for note in table.notes:
                self.progress.note(note)
            try:
                return self._learn(client, table, files)
            finally:
                table.release()

    def _learn(self, client: Any, table: Table, files: Sequence[MonthFiles]) -> Training:
        from taxiway.tracking import Sweep

        self.search = self.search.with_bins(table.categories)
        self._tell_of_rare_categories(table)
        opened = Sweep.open(client, self.settings, self.compiled, self.split, files, table, self.search, self.seed)
        with opened as sweep:
            candidates = self._fit(table)
            with self._step("Evaluating candidates"):
                # What Optuna was told is known already.
                missing = [part for part in (TRAIN, HOLDOUT) if part not in candidates[0].parts]
                candidates = judge(self.recipe, table, candidates, missing)
            candidates = self.search.ranked(candidates)
            # The audit mostly waits for Spark and the record for the disk: together they take half the time.
            with meanwhile(lambda: self._audit(table, candidates[0])) as auditing:
                run_ids = sweep.record(table.pipeline, table.slots, candidates, table.example, self.progress)
            leakage = auditing.result()
            sweep.conclude(run_ids, candidates[0], leakage)
        return Training(
            recipe=self.recipe.name,
            parent_run_id=sweep.run_id,
            best_run_id=run_ids[0],
            metric=f"{HOLDOUT}_{self.recipe.chosen_metric}",
            runs=tuple(
                TrainedRun(run_id, candidate.named_params, candidate.metrics)
                for run_id, candidate in zip(run_ids, candidates, strict=True)
            ),
            leakage=leakage,
            rows=table.rows,
            rejected=table.rejected,
            unreadable=table.unreadable,
            synthetic=any(item.synthetic for item in files),
            seconds=time.monotonic() - self.began,
            experiment_id=sweep.experiment_id,
            higher_is_better=self.recipe.higher_is_better,
        )

    def _tell_of_rare_categories(self, table: Table) -> None:
        wide = [name for name, size in table.categories.items() if size >= MOST_CATEGORIES]
        for name in wide:
            self.progress.note(
                f"'{name}' has {MOST_CATEGORIES:,} categories or more: {self.search.estimator.name} tells the "
                f"{MOST_CATEGORIES - 1:,} most frequent apart, the others count as unknown"
            )

    def _fit(self, table: Table) -> list[Candidate]:
        task = "Fitting candidates"
        self.progress.begin(task, self.search.size)

        def fit(candidate: Candidate) -> Candidate:
            started = time.time()
            model = self._fit_one(candidate, table.fitting)
            self.progress.advance(task)
            return candidate.fitted(model, started, time.time() - started)

        def rate(fitted: Sequence[Candidate]) -> list[Candidate]:
            return judge(self.recipe, table, fitted, parts=(HOLDOUT,))

        found = self.search.run(fit, rate)
        self.progress.end(task)
        return found

    def _fit_one(self, candidate: Candidate, vectors: DataFrame) -> Any:
        from pyspark.errors import IllegalArgumentException

        estimator = build_estimator(candidate.estimator, candidate.task, candidate.params, self.seed)
        try:
            return estimator.fit(vectors)
        except IllegalArgumentException as error:
            # Spark knows the bounds of each hyper-parameter, and checks them when it fits.
            reason = re.sub(r"\b\w+_[0-9a-f]{12} parameter ", "", str(error).partition("\n")[0])
            raise UsageError(f"{candidate.estimator} cannot be fitted", reason) from error

    def _audit(self, table: Table, best: Candidate) -> tuple[FeatureAudit, ...]:
        data = AuditData(table.columns, {**table.vectors, TRAIN: table.fitting}, table.slots, table.rows)
        unfitted = coarse(best.estimator, build_estimator(best.estimator, best.task, best.params, self.seed))
        with self._step("Auditing for leakage"):
            return audit(self.recipe, data, unfitted, score_column(self.recipe))

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self.progress.begin(name)
        yield
        self.progress.end(name)


def _connect_both(settings: Settings, progress: Progress, rows: int) -> tuple[Any, SparkSession]:
    """Open the store and start Spark side by side: each spends seconds waiting.

    The store is asked first when it is a server, so that one which does not answer is known
    before anything else is begun.
    """
    from taxiway.spark import spark_session
    from taxiway.store import connect

    if not settings.embedded_store:
        client = connect(settings)
        return client, spark_session(settings, progress, rows)
    progress.begin("Starting Spark")
    with ThreadPoolExecutor(1) as pool:
        store = pool.submit(connect, settings)
        try:
            spark = spark_session(settings, progress, rows)
        except TaxiwayError:
            store.result()  # a fault of the store is told first: it may be what kept Spark from starting
            raise
        client = store.result()
    progress.end("Starting Spark")
    return client, spark


def judge(recipe: Recipe, table: Table, candidates: Sequence[Candidate], parts: Sequence[str]) -> list[Candidate]:
    """Evaluate all fitted candidates on parts of the data: one pass over each part, side by side."""
    from pyspark.sql import functions as F

    scores = F.array(*(F.col(f"score_{index}") for index in range(len(candidates))))

    def judge_part(part: str) -> dict[tuple[str, int], Evaluation]:
        scored = table.vectors[part]
        for index, candidate in enumerate(candidates):
            scored = with_score(scored, candidate.model, score_column(recipe), f"score_{index}")
        return evaluate(scored.select(PART, LABEL, scores.alias(SCORES)), recipe.task, len(candidates), table.rows)

    found = {key: value for judged in side_by_side(judge_part, parts, len(parts)) for key, value in judged.items()}
    return [
        candidate.judged({part: found[part, index] for part in parts}) for index, candidate in enumerate(candidates)
    ]
