"""Names of models and versions, and how stages and aliases are read together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from taxiway.cli.models import describe_age, document
from taxiway.errors import NotFound, UsageError
from taxiway.registry import Move
from taxiway.versions import ARCHIVED, PRODUCTION, STAGING, Version, in_stage, parse_model, pick

VERSION = Version(
    name="tip",
    version=3,
    stage="None",
    aliases=(),
    run_id="abc",
    metrics={"holdout_roc_auc": 0.9},
    metric="holdout_roc_auc",
    description="",
    tags={},
    created=datetime(2026, 1, 1, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("text", "parsed"), [("tip", ("tip", None)), ("tip/3", ("tip", 3)), ("card-tip/12", ("card-tip", 12))]
)
def test_a_model_or_a_version(text: str, parsed: tuple[str, int | None]) -> None:
    assert parse_model(text) == parsed


@pytest.mark.parametrize("text", ["", "tip/", "tip/0", "tip/x", "tip/3/4", "/3", "tip/-1", " tip", "tip/1234567890"])
def test_what_is_neither(text: str) -> None:
    with pytest.raises(UsageError, match="neither a model nor a version"):
        parse_model(text)


def test_in_use_by_stage_or_by_alias() -> None:
    assert VERSION.in_use == ()
    assert replace(VERSION, stage=PRODUCTION).in_use == (PRODUCTION,)
    assert replace(VERSION, aliases=("champion", "staging")).in_use == (STAGING,)
    assert replace(VERSION, stage=STAGING, aliases=("production",)).in_use == (STAGING, PRODUCTION)
    assert replace(VERSION, stage=ARCHIVED).in_use == ()


def test_of_several_in_a_stage_the_alias_decides_then_the_newest() -> None:
    older, newer = (replace(VERSION, version=number, stage=PRODUCTION) for number in (1, 2))
    assert in_stage([older, newer], PRODUCTION) == newer
    aliased = replace(older, aliases=("production",))
    assert in_stage([newer, aliased], PRODUCTION) == aliased
    assert in_stage([older, newer], STAGING) is None


def test_a_version_by_its_number() -> None:
    assert pick([VERSION], "tip", 3) is VERSION
    with pytest.raises(NotFound, match="no version tip/4"):
        pick([VERSION], "tip", 4)


def test_what_tags_say() -> None:
    tagged = replace(VERSION, tags={"taxiway.leakage": "payment_type,hour", "taxiway.synthetic": "true"})
    assert tagged.flagged == ("payment_type", "hour")
    assert tagged.synthetic
    assert VERSION.flagged == ()
    assert not VERSION.synthetic


def test_a_version_as_json() -> None:
    shown = document(VERSION)
    assert {"name", "version", "stage", "aliases", "run_id", "metrics"} <= set(shown)
    assert (shown["version"], shown["aliases"], shown["created"]) == (3, [], "2026-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s"), (59, "59 s"), (60, "1 min"), (7199, "1 h"), (86_400, "1 d"), (1e8, "1157 d")]
)
def test_ages(seconds: float, text: str) -> None:
    assert describe_age(seconds) == text


def test_a_move_reads_as_a_sentence() -> None:
    assert str(Move("tip", 3, "None", "Staging")) == "tip/3: None -> Staging"
