"""What the built-in recipes ask of a trip, computed a second time with pandas and NumPy.

Written from the definition of the exercise and the TLC's own column names; it shares neither
text nor code with the recipes' SQL.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

# One entry for each hour of a 24-hour clock.
BIN_OF_HOUR = np.array(
    ["Night"] * 7 + ["AMRush"] * 4 + ["Afternoon"] * 5 + ["PMRush"] * 4 + ["Night"] * 4, dtype=object
)

_NAMES = {
    "pickup": ("tpep_pickup_datetime", "lpep_pickup_datetime", "pickup_datetime"),
    "dropoff": ("tpep_dropoff_datetime", "lpep_dropoff_datetime", "dropoff_datetime"),
    "passengers": ("passenger_count",),
    "miles": ("trip_distance",),
    "fare": ("fare_amount",),
    "tip": ("tip_amount",),
    "rate": ("RatecodeID", "rate_code_id"),
    "payment": ("payment_type",),
    "vendor": ("VendorID", "vendor_id"),
    "from_zone": ("PULocationID", "pickup_location_id"),
    "to_zone": ("DOLocationID", "dropoff_location_id"),
    "extra": ("extra",),
    "tolls": ("tolls_amount",),
}


def published_trips(file: Path, month: str) -> pd.DataFrame:
    """A published file as numbers and times, in its own order."""
    raw = (pd.read_csv if file.suffix == ".csv" else pd.read_parquet)(file).reset_index(drop=True)
    trips = pd.DataFrame({"month": [month] * len(raw)})
    for name, published in _NAMES.items():
        column = raw[next(candidate for candidate in published if candidate in raw)]
        as_time = name in ("pickup", "dropoff")
        trips[name] = pd.to_datetime(column) if as_time else pd.to_numeric(column, errors="coerce").astype("float64")
    return trips


def seconds(trips: pd.DataFrame) -> pd.Series:
    """How long each trip lasts."""
    return (trips["dropoff"] - trips["pickup"]).dt.total_seconds()


def features(trips: pd.DataFrame) -> dict[str, np.ndarray]:
    """Every feature of every built-in recipe: numbers as floats, categories as text or None."""
    hour = trips["pickup"].dt.hour.to_numpy()
    same = np.where(trips["from_zone"] == trips["to_zone"], 1.0, 0.0)
    return {
        "passenger_count": trips["passengers"].to_numpy(),
        "trip_seconds": seconds(trips).to_numpy(),
        "trip_distance": trips["miles"].to_numpy(),
        "fare_amount": trips["fare"].to_numpy(),
        "tolls_amount": trips["tolls"].to_numpy(),
        "stays_in_zone": np.where(trips["from_zone"].isna() | trips["to_zone"].isna(), np.nan, same),
        "pickup_hour": np.array([str(value) for value in hour], dtype=object),
        "pickup_weekday": trips["pickup"].dt.day_name().to_numpy(),
        "traffic_time_bin": BIN_OF_HOUR[hour],
        "payment_type": _whole(trips["payment"]),
        "vendor_id": _whole(trips["vendor"]),
        "pickup_zone_id": _whole(trips["from_zone"]),
        "dropoff_zone_id": _whole(trips["to_zone"]),
        "extra": np.array([None if np.isnan(value) else str(value) for value in trips["extra"]], dtype=object),
    }


def rules(trips: pd.DataFrame, recipe: str) -> dict[str, np.ndarray]:
    """Which trips meet each rule of a recipe, in the order they are asked; unknown is not met."""
    lasts = seconds(trips)
    found = {
        "pickup_in_its_month": trips["pickup"].dt.strftime("%Y-%m") == trips["month"],
        "passengers_1_to_7": (trips["passengers"] >= 1) & (trips["passengers"] <= 7),
        "fare_1_to_250_usd": (trips["fare"] >= 1) & (trips["fare"] <= 250),
        "distance_up_to_100_miles": (trips["miles"] > 0) & (trips["miles"] <= 100),
        "rate_code_up_to_5": trips["rate"] <= 5,
        "lasts_30_to_7200_seconds": (lasts >= 30) & (lasts <= 7200),
        "tip_0_to_25_usd": (trips["tip"] >= 0) & (trips["tip"] <= 25),
        "tip_below_fare": trips["tip"] < trips["fare"],
        "paid_by_card_or_cash": trips["payment"].isin([1, 2]),
        "paid_by_card": trips["payment"] == 1,
    }
    asked = {
        "tip": [name for name in found if name != "paid_by_card"],
        "card-tip": [name for name in found if name != "paid_by_card_or_cash"],
        "duration": ["pickup_in_its_month", "lasts_30_to_7200_seconds", "distance_up_to_100_miles"],
    }[recipe]
    return {name: found[name].to_numpy() for name in asked}


def label(trips: pd.DataFrame, recipe: str) -> np.ndarray:
    """What is predicted: 1.0 for a tip, or minutes."""
    if recipe == "duration":
        return (seconds(trips) / 60).to_numpy()
    return np.where(trips["tip"].isna(), np.nan, (trips["tip"] > 0).astype("float64"))


def rejected_by(trips: pd.DataFrame, recipe: str) -> np.ndarray:
    """The first rule that each trip breaks, None for a valid one."""
    found = np.full(len(trips), None, dtype=object)
    for name, met in reversed(rules(trips, recipe).items()):
        found[~met] = name
    return found


def _whole(numbers: pd.Series) -> np.ndarray:
    return np.array([None if np.isnan(value) else str(int(value)) for value in numbers], dtype=object)
