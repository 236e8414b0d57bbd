"""What a recipe says: the question asked of a trip, as plain declarations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from taxiway.recipes.metrics import METRICS, Task
from taxiway.trips.schema import LAYOUTS, Layout

Value = float | int | str | bool


@dataclass(frozen=True)
class Rule:
    """A condition that a trip must meet to be learned from.

    For training and evaluation the condition must be true. At scoring it must not be false: a
    trip whose value is unknown is answered, one that lies outside what the model has seen is
    kept without an answer. A rule that reads a column known only afterwards is not asked at
    scoring at all.

    Parameters
    ----------
    name : str
        What is right about a trip that meets it; rejected trips are counted under it. Letters,
        digits and underscores.
    condition : str
        SQL over canonical columns, `colour`, `month` and the recipe's features.
    """

    name: str
    condition: str


@dataclass(frozen=True)
class Range:
    """Where a search looks for a hyper-parameter.

    Parameters
    ----------
    low, high : float
        Bounds, both included.
    log : bool
        Whether to search evenly in the logarithm.
    """

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True)
class Estimator:
    """A Spark ML estimator and where to look for its hyper-parameters.

    Parameters
    ----------
    name : str
        A key of `taxiway.recipes.estimators.ESTIMATORS`, ``logistic_regression`` for one.
    fixed : mapping
        Parameters that every candidate shares, under Spark's names.
    sweep : mapping of str to tuple
        Values tried by default, every combination.
    space : mapping of str to Range
        Bounds for ``--trials``.
    """

    name: str
    fixed: Mapping[str, Value] = field(default_factory=dict)
    sweep: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    space: Mapping[str, Range] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A question about a row and how it is answered.

    Parameters
    ----------
    name : str
        Also the name of the MLflow experiment and of the registered model.
    description : str
        One sentence.
    task : {'classification', 'regression'}
        Whether the label is 0 or 1, or a number.
    label : str
        SQL for what is predicted.
    estimators : tuple of Estimator
        The first is the default.
    numeric : tuple of str
        Feature names or canonical columns used as numbers; nulls become the training median.
    categorical : tuple of str
        Feature names or canonical columns used as categories; nulls and unseen values are a
        category of their own.
    features : mapping of str to str
        Derived features as SQL over canonical columns and other features, by names of letters,
        digits and underscores.
    known_after : tuple of str
        Canonical columns that do not exist yet when the prediction is made. No feature may read
        them, and rules that do apply to training and evaluation alone.
    rules : tuple of Rule
        The rows it concerns and what makes them usable, in the order they are asked.
    metric : str
        What the best run is chosen by, on the holdout months.
    holdout_months : int
        How many of the last months are held out where none are named.
    unit : str
        Unit of a regression's label.
    layouts : mapping of str to Layout
        The data sets it reads; yellow and green trips by default.
    """

    name: str
    description: str
    task: Task
    label: str
    estimators: tuple[Estimator, ...]
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    features: Mapping[str, str] = field(default_factory=dict)
    known_after: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    metric: str = ""
    holdout_months: int = 1
    unit: str = ""
    layouts: Mapping[str, Layout] = field(default_factory=lambda: LAYOUTS)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the features that reach the estimator, numeric ones first."""
        return (*self.numeric, *self.categorical)

    @property
    def chosen_metric(self) -> str:
        """The metric that decides; ROC AUC or RMSE unless the recipe says otherwise."""
        return self.metric or next(iter(METRICS[self.task]))

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the chosen metric is better."""
        return METRICS[self.task][self.chosen_metric].higher_is_better
