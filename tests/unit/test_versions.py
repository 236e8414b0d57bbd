"""Names of models and versions, and how stages and aliases are read together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from taxiway.cli.models import describe_age, document
from taxiway.deletion import Deletion, check_unused, compared
from taxiway.errors import NotFound, Refused, UsageError
from taxiway.references import Reference, choose, parse_reference
from taxiway.registry import Move, candidate, moves_of
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
    ("text", "parsed"),
    [
        ("tip", ("tip", None)),
        ("tip/3", ("tip", 3)),
        ("card-tip/12", ("card-tip", 12)),
        ("o'hare", ("o'hare", None)),
        ("""the "o'hare" model/3""", ("""the "o'hare" model""", 3)),
        ("50%_off\\/1", ("50%_off\\", 1)),
        ("日本 語/2", ("日本 語", 2)),
        (" tip", (" tip", None)),
        ("m-0f3a/4", ("m-0f3a", 4)),
    ],
)
def test_a_model_or_a_version(text: str, parsed: tuple[str, int | None]) -> None:
    assert parse_model(text) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tip/",
        "tip/0",
        "tip/x",
        "tip/3/4",
        "/3",
        "tip/-1",
        "tip/1234567890",
        "a/b",
        "a/b/3",
        "a//3",
        "a:b",
        "a:b/3",
        " /3",
        "../3",
        "..tip",
        "tip/\uff13",
        "tip/3 ",
        "t\0p",
        "t\udcffp",
    ],
)
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


def test_which_version_is_meant_when_only_the_model_is_named() -> None:
    archived, new, newer = (replace(VERSION, version=number) for number in (1, 2, 3))
    archived = replace(archived, stage=ARCHIVED)
    assert candidate([newer, new, archived], "tip", PRODUCTION) == newer
    assert candidate([newer, replace(new, stage=STAGING), archived], "tip", PRODUCTION).version == 2
    assert candidate([new, archived], "tip", STAGING) == new


@pytest.mark.parametrize(("stage", "words"), [(PRODUCTION, "only archived versions"), (STAGING, "no version in None")])
def test_what_was_archived_does_not_come_back_unasked(stage: str, words: str) -> None:
    archived = [replace(VERSION, name="o'hare", version=number, stage=ARCHIVED) for number in (4, 3)]
    with pytest.raises(NotFound, match=words) as caught:
        candidate(archived, "o'hare", stage)
    assert caught.value.remedy.endswith(f"""taxiway promote "o'hare/4" --to {stage.lower()}""")


def test_a_model_without_versions_has_none_to_promote() -> None:
    with pytest.raises(NotFound, match="no version that could go to Production"):
        candidate([], "tip", PRODUCTION)


def test_a_promotion_moves_step_by_step_and_whoever_holds_the_stage_gives_way() -> None:
    new, staged, used = (replace(VERSION, version=number) for number in (3, 2, 1))
    staged, used = replace(staged, stage=STAGING), replace(used, stage=PRODUCTION)
    everyone = [new, staged, used]
    assert moves_of(everyone, new, PRODUCTION) == (
        Move("tip", 3, "None", STAGING),
        Move("tip", 3, STAGING, PRODUCTION),
        Move("tip", 1, PRODUCTION, ARCHIVED),
    )
    assert moves_of(everyone, new, STAGING) == (Move("tip", 3, "None", STAGING), Move("tip", 2, STAGING, ARCHIVED))
    assert moves_of(everyone, used, ARCHIVED) == (Move("tip", 1, PRODUCTION, ARCHIVED),)
    assert moves_of([used, replace(staged, stage=ARCHIVED)], replace(staged, stage=ARCHIVED), PRODUCTION) == (
        Move("tip", 2, ARCHIVED, PRODUCTION),
        Move("tip", 1, PRODUCTION, ARCHIVED),
    )


def test_a_promotion_of_what_is_there_moves_nobody_but_a_second_one() -> None:
    used, second = replace(VERSION, stage=PRODUCTION), replace(VERSION, version=4, stage=PRODUCTION)
    assert moves_of([used], used, PRODUCTION) == ()
    assert moves_of([second, used], used, PRODUCTION) == (Move("tip", 4, PRODUCTION, ARCHIVED),)
    archived = replace(VERSION, stage=ARCHIVED)
    assert moves_of([archived, replace(archived, version=4)], archived, ARCHIVED) == ()


def test_every_use_of_a_version_is_named_or_it_stays() -> None:
    check_unused(VERSION, [], [])
    with pytest.raises(Refused, match=r"tip/3 is in Staging.*--in-stage staging"):
        check_unused(replace(VERSION, aliases=("staging",)), [PRODUCTION], ["staging"])
    champion = replace(VERSION, stage=PRODUCTION, aliases=("champion", "production", "to try"))
    with pytest.raises(Refused, match="is in Production"):
        check_unused(champion, [], ["champion", "to try"])
    with pytest.raises(Refused, match=r"aliases champion, to try.*--with-alias champion --with-alias 'to try'"):
        check_unused(champion, [PRODUCTION], [])
    with pytest.raises(Refused, match="the alias to try"):
        check_unused(champion, [PRODUCTION], ["champion"])
    check_unused(champion, [PRODUCTION], ["champion", "to try"])


PLAN = Deletion(
    model="tip",
    name="tip",
    versions=(VERSION,),
    whole_model=True,
    aliases=("champion",),
    runs=(),
    with_alias=("champion",),
)


@pytest.mark.parametrize(
    ("numbers", "stages", "aliases", "words"),
    [
        ({3}, {3: "None"}, {"champion": 3}, ""),
        ({1, 3}, {3: "None"}, {"champion": 3}, "'tip' also has tip/1, which the search left out"),
        (set(), {}, {}, "tip/3 was found in None, and is not there"),
        ({3}, {3: "Production"}, {"champion": 3}, "is in Production"),
        ({3}, {3: "None"}, {}, "aliases of 'tip' are none"),
        ({3}, {3: "None"}, {"champion": 3, "staging": 3}, "aliases of 'tip' are champion, staging"),
    ],
)
def test_a_second_look_before_anything_is_deleted(
    numbers: set[int], stages: dict[int, str], aliases: dict[str, int], words: str
) -> None:
    found = compared(PLAN, numbers, stages, aliases)
    assert words in found
    assert bool(found) == bool(words)


def test_aliases_of_versions_that_stay_make_no_difference() -> None:
    one = replace(PLAN, whole_model=False)
    assert compared(one, {3}, {3: "None"}, {"champion": 3, "production": 2}) == ""


def test_an_address_that_mlflow_can_read() -> None:
    assert replace(VERSION, name="o'hare").uri == "models:/o'hare/3"
    # Whatever follows a ? is lost to MLflow.
    assert replace(VERSION, name="tip?", source="models:/m-0f3a").uri == "models:/m-0f3a"


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


# References


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("tip", Reference("tip", None, "production")),
        ("tip/3", Reference("tip", 3)),
        ("tip@production", Reference("tip", None, "production")),
        ("tip@challenger", Reference("tip", None, "challenger")),
        ("models:/tip/3", Reference("tip", 3)),
        ("models:/tip@staging", Reference("tip", None, "staging")),
        ("models:/o'hare", Reference("o'hare")),
        ("a@b@c", Reference("a@b", None, "c")),
        ("tip@", Reference("tip@")),
        ("@tip", Reference("@tip")),
    ],
)
def test_a_reference(text: str, meant: Reference) -> None:
    assert parse_reference(text) == meant


@pytest.mark.parametrize("text", ["", "tip/x", "models:/", "models:/tip/0", "runs:/abc/model", "tip/3@production"])
def test_no_reference_is_one_line(text: str) -> None:
    with pytest.raises(UsageError, match="is neither a model nor a version"):
        parse_reference(text)


def test_the_stage_decides_for_the_aliases_that_go_with_one() -> None:
    archived = replace(VERSION, version=1, stage=ARCHIVED, aliases=("production",))
    used = replace(VERSION, version=2, stage=PRODUCTION)
    assert choose([used, archived], Reference("tip")) is used
    with pytest.raises(NotFound, match="No version of 'tip' is in production, though tip/1 has the alias"):
        choose([archived], Reference("tip"))
    with pytest.raises(NotFound, match=r"is in staging\. Promote one: taxiway promote tip --to staging"):
        choose([used], Reference("tip", None, "staging"))


def test_any_other_alias_is_taken_as_it_is() -> None:
    challenger = replace(VERSION, version=4, aliases=("challenger",))
    assert choose([VERSION, challenger], Reference("tip", None, "challenger")) is challenger
    with pytest.raises(NotFound, match=r"has the alias 'challanger'\. Did you mean 'tip@challenger'"):
        choose([VERSION, challenger], Reference("tip", None, "challanger"))
