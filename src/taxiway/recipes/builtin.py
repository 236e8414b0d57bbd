"""The recipes that come with Taxiway."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from taxiway.recipes.recipe import Estimator, Range, Recipe, Rule

_CLOCK = {
    # 24 hours: a 12-hour clock would fold the evening rush into the morning's.
    "pickup_hour": "hour(pickup_at)",
    "pickup_weekday": "date_format(pickup_at, 'EEEE')",
    "traffic_time_bin": """
        case when pickup_hour <= 6 or pickup_hour >= 20 then 'Night'
             when pickup_hour <= 10 then 'AMRush'
             when pickup_hour <= 15 then 'Afternoon'
             when pickup_hour <= 19 then 'PMRush' end""",
}
_SECONDS = {"trip_seconds": "timestampdiff(SECOND, pickup_at, dropoff_at)"}

_IN_ITS_MONTH = Rule("pickup_in_its_month", "date_format(pickup_at, 'yyyy-MM') = month")
_USUAL_TRIP = (
    _IN_ITS_MONTH,
    Rule("passengers_1_to_7", "passenger_count between 1 and 7"),
    Rule("fare_1_to_250_usd", "fare_amount between 1 and 250"),
    Rule("distance_up_to_100_miles", "trip_distance > 0 and trip_distance <= 100"),
    Rule("rate_code_up_to_5", "rate_code_id <= 5"),
    Rule("lasts_30_to_7200_seconds", "timestampdiff(SECOND, pickup_at, dropoff_at) between 30 and 7200"),
    Rule("tip_0_to_25_usd", "tip_amount between 0 and 25"),
    Rule("tip_below_fare", "tip_amount < fare_amount"),
)

_REGULARISATION = (0.0, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_LINEAR_SPACE = {"regParam": Range(1e-5, 1.0, log=True), "elasticNetParam": Range(0.0, 1.0)}
# A level more doubles what a tree can learn by heart, zone by zone: on later months depth 5 is worse than 4.
_TREE_SPACE = {"maxDepth": Range(2, 5), "maxIter": Range(10, 50), "stepSize": Range(0.05, 0.4, log=True)}

_CLASSIFIERS = (
    Estimator(
        "logistic_regression",
        fixed={"maxIter": 50, "elasticNetParam": 0.0},
        sweep={"regParam": _REGULARISATION},
        space=_LINEAR_SPACE,
    ),
    Estimator(
        "gradient_boosted_trees",
        fixed={"maxIter": 20, "stepSize": 0.3},
        sweep={"maxDepth": (2, 3)},
        space=_TREE_SPACE,
    ),
    Estimator(
        "random_forest",
        fixed={"numTrees": 30},
        sweep={"maxDepth": (5, 8)},
        space={"maxDepth": Range(3, 9), "numTrees": Range(10, 50)},
    ),
)

TIP = Recipe(
    name="tip",
    description="Will the rider tip? The well-known exercise, on card and cash trips.",
    task="classification",
    label="tip_amount > 0",
    features={**_CLOCK, **_SECONDS},
    numeric=("passenger_count", "trip_seconds", "trip_distance", "fare_amount"),
    categorical=("pickup_hour", "pickup_weekday", "traffic_time_bin", "payment_type"),
    known_after=("tip_amount", "total_amount"),
    rules=(*_USUAL_TRIP, Rule("paid_by_card_or_cash", "payment_type in (1, 2)")),
    estimators=_CLASSIFIERS,
    holdout_months=2,
)

CARD_TIP = Recipe(
    name="card-tip",
    description="Will the rider who pays by card tip? Cash tips are never recorded, so they are left out.",
    task="classification",
    label="tip_amount > 0",
    features={**_CLOCK, **_SECONDS},
    numeric=("passenger_count", "trip_seconds", "trip_distance", "fare_amount", "tolls_amount"),
    categorical=(
        "pickup_hour",
        "pickup_weekday",
        "traffic_time_bin",
        "extra",
        "vendor_id",
        "pickup_zone_id",
        "dropoff_zone_id",
    ),
    known_after=("tip_amount", "total_amount"),
    rules=(*_USUAL_TRIP, Rule("paid_by_card", "payment_type = 1")),
    estimators=_CLASSIFIERS,
    holdout_months=2,
)

DURATION = Recipe(
    name="duration",
    description="How many minutes will the trip take, from what is known at pick-up and the chosen destination?",
    task="regression",
    label="timestampdiff(SECOND, pickup_at, dropoff_at) / 60",
    features={
        **_CLOCK,
        "stays_in_zone": """
            case when pickup_zone_id = dropoff_zone_id then 1 when pickup_zone_id <> dropoff_zone_id then 0 end""",
    },
    numeric=("passenger_count", "stays_in_zone"),
    categorical=(
        "pickup_hour",
        "pickup_weekday",
        "traffic_time_bin",
        "vendor_id",
        "pickup_zone_id",
        "dropoff_zone_id",
    ),
    known_after=(
        "dropoff_at",
        "trip_distance",
        "rate_code_id",
        "payment_type",
        "fare_amount",
        "extra",
        "mta_tax",
        "tip_amount",
        "tolls_amount",
        "improvement_surcharge",
        "total_amount",
        "congestion_surcharge",
        "airport_fee",
        "cbd_congestion_fee",
    ),
    rules=(
        _IN_ITS_MONTH,
        Rule("lasts_30_to_7200_seconds", "timestampdiff(SECOND, pickup_at, dropoff_at) between 30 and 7200"),
        Rule("distance_up_to_100_miles", "trip_distance > 0 and trip_distance <= 100"),
    ),
    estimators=(
        Estimator(
            "linear_regression",
            fixed={"maxIter": 50, "elasticNetParam": 0.0},
            sweep={"regParam": _REGULARISATION},
            space=_LINEAR_SPACE,
        ),
        Estimator(
            "gradient_boosted_trees",
            fixed={"maxIter": 20, "stepSize": 0.35},
            sweep={"maxDepth": (3, 4)},
            space=_TREE_SPACE,
        ),
    ),
    holdout_months=2,
    unit="minutes",
)

RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in (TIP, CARD_TIP, DURATION)})
