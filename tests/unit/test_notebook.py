"""What notebooks show, without a notebook: lines of progress, tables, warnings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from taxiway.leakage import FeatureAudit
from taxiway.notebook import CellProgress, features_table, leakage_table, leakage_warning, rejected_table, trips_table
from taxiway.recipes import load_recipe
from taxiway.trips.quality import MonthSummary

LEAK = FeatureAudit("payment_type", alone=0.945, without=0.542, flagged=True)
HONEST = FeatureAudit("trip_distance", alone=0.541, without=0.956, flagged=False)


def summary(month: str, valid: int, **rejected: int) -> MonthSummary:
    return MonthSummary(
        colour="yellow",
        month=month,
        rows=valid + sum(rejected.values()),
        valid=valid,
        rejected=rejected,
        pickups=tuple((0,) * 24 for _ in range(7)),
        distances=(0,) * 31,
    )


SUMMARIES = (
    summary("2018-01", 97, passengers=2, fare=1),
    replace(summary("2018-02", 50, fare=50), unreadable={"fare_amount": 1, "pickup_at": 1}),
)


def test_a_task_under_way_says_how_far_it_is_and_a_finished_one_how_long_it_took(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = CellProgress()
    progress.begin("Fitting", 10)
    progress.advance("Fitting", 4)
    progress.begin("Downloading", 2e6, "B")
    progress.advance("Downloading", 1e6)
    progress.note("Java is being installed.")
    assert progress.text() == "… Fitting: 4 of 10\n… Downloading: 1 of 2 MB\nJava is being installed."
    progress.end("Fitting")
    progress.end("never begun")
    assert progress.text().startswith("✓ Fitting: 4 of 10, 0.")
    assert "HTML" in capsys.readouterr().out


def test_months_are_counted_and_rejected_trips_are_summed_by_rule() -> None:
    trips = trips_table(SUMMARIES).data
    expected = {"rows": 100, "valid": 50, "rejected": 50, "share valid": 0.5, "unreadable values": 2}
    assert trips.loc["yellow:2018-02"].to_dict() == expected
    rejected = rejected_table(SUMMARIES).data
    assert list(rejected.index) == ["fare", "passengers"]
    assert rejected.loc["fare"].to_dict() == {"all": 51, "2018-01": 1, "2018-02": 50}
    assert rejected.loc["passengers"].to_dict() == {"all": 2, "2018-01": 2, "2018-02": 0}


def test_a_flagged_feature_is_named_and_stands_out() -> None:
    assert leakage_warning([HONEST]) == "No single feature carries the model."
    warning = leakage_warning([HONEST, LEAK])
    assert warning.startswith("Warning: 'payment_type' carries the model. It reaches 0.945 alone")
    assert warning.count("\n") == 0
    shown = leakage_table([HONEST, LEAK])
    assert list(shown.data["verdict"]) == ["", "carries the model"]
    assert "background-color" in shown.to_html()
    assert "background-color" not in leakage_table([HONEST]).to_html()


def test_features_are_shown_as_the_recipe_writes_them() -> None:
    recipe = load_recipe("tip")
    shown = features_table(recipe).data
    assert list(shown.index) == list(recipe.recipe.inputs)
    assert shown.loc["trip_seconds", "SQL"] == "timestampdiff(SECOND, pickup_at, dropoff_at)"
    assert shown.loc["fare_amount"].to_list() == ["number", "fare_amount"]
