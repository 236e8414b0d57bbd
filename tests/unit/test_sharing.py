"""What driver and executors both see: decided from the settings, before anything is started or asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from taxiway.destination import open_destination
from taxiway.errors import UsageError
from taxiway.scoring import score
from taxiway.settings import Settings, load_settings
from taxiway.sharing import check_shared, is_seen, on_cluster, output_location, place_of
from taxiway.spark import session_configuration
from taxiway.training import train
from taxiway.trips.source import check_seen

MASTER = "spark://head:7077"


@pytest.fixture(autouse=True)
def _no_running_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process may have left a session, which would have the last word."""
    if "pyspark" in sys.modules:
        monkeypatch.setattr(sys.modules["pyspark"].SparkContext, "_active_spark_context", None)


@pytest.fixture(autouse=True)
def _no_variables_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


def settings_of(tmp_path: Path, **options: Any) -> Settings:
    return load_settings({"home": tmp_path / "home", **options}, {}, tmp_path)


def cluster(tmp_path: Path, **options: Any) -> Settings:
    return settings_of(tmp_path, spark={"spark.master": MASTER}, **options)


@pytest.mark.parametrize(
    ("master", "elsewhere"),
    [
        ("local", False),
        ("local[*]", False),
        ("local[4,2]", False),
        ("local-cluster[2,1,1024]", False),
        (MASTER, True),
        ("spark://one:7077,two:7077", True),
        ("k8s://https://api:6443", True),
        ("yarn", True),
    ],
)
def test_executors_are_elsewhere_unless_the_master_is_local(master: str, elsewhere: bool, tmp_path: Path) -> None:
    assert on_cluster(settings_of(tmp_path, spark={"spark.master": master})) is elsewhere


def test_without_a_master_everything_is_one_machine(tmp_path: Path) -> None:
    found = settings_of(tmp_path)

    assert not on_cluster(found)
    assert is_seen(found, tmp_path)
    check_shared(found)
    check_seen(found)
    assert output_location(found, "predictions", "tip") == tmp_path / "home" / "predictions" / "tip"


def test_a_cluster_needs_a_place_that_is_shared(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        check_shared(cluster(tmp_path))

    assert str(refusal.value) == (
        f"The executors of {MASTER} do not see this machine's disk, and no place is set that they do see. "
        "Set TAXIWAY_SHARED or --shared, for example to s3a://trips/.taxiway"
    )


def test_training_and_scoring_ask_for_it_before_they_fetch_or_start_anything(tmp_path: Path) -> None:
    found = cluster(tmp_path, trips_source="s3a://trips", tracking_uri="http://127.0.0.1:9")

    with pytest.raises(UsageError, match="TAXIWAY_SHARED"):
        train("tip", "green:2023-01", "green:2023-02", settings=found)
    with pytest.raises(UsageError, match="TAXIWAY_SHARED"):
        score("tip", "green:2023-01", "s3a://trips/out", settings=found)


@pytest.mark.parametrize(
    ("shared", "seen"),
    [
        ("/shared", True),
        ("file:///shared", True),
        ("/shared/deep", False),
        ("s3a://trips/.taxiway", False),
        ("", False),
    ],
)
def test_executors_see_what_lies_in_a_shared_folder(shared: str, seen: bool, tmp_path: Path) -> None:
    found = cluster(tmp_path, **({"shared": shared} if shared else {}))

    assert is_seen(found, Path("/shared/trips")) is seen


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("tlc", "are downloaded to"),
        ("https://example.org/trips", "are downloaded to"),
        ("abfs://c@a.dfs.core.windows.net/trips", "are downloaded to"),
        ("/data/trips", "lie in /data/trips"),
    ],
)
def test_trips_that_executors_cannot_read_are_refused(source: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words) as refusal:
        check_seen(cluster(tmp_path, trips_source=source, shared="s3a://trips/.taxiway"))

    assert "--trips-source s3a://bucket" in refusal.value.remedy


@pytest.mark.parametrize(
    ("source", "home", "shared"),
    [
        ("s3a://trips", "home", "s3a://trips/.taxiway"),
        ("s3://trips/years", "home", "s3a://trips/.taxiway"),
        ("/shared/trips", "home", "/shared"),
        ("tlc", "/shared/home", "/shared"),
    ],
)
def test_trips_that_executors_can_read_are_let_through(source: str, home: str, shared: str, tmp_path: Path) -> None:
    options = {"home": tmp_path / home, "trips_source": source, "shared": shared, "spark": {"spark.master": MASTER}}

    check_seen(load_settings(options, {}, tmp_path))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("s3a://trips/out", "s3a://trips/out"),
        ("s3://trips/out/", "s3a://trips/out"),
        ("s3a://trips", "s3a://trips"),
        ("/data/out", Path("/data/out")),
        ("file:///data/a%20b", Path("/data/a b")),
        (Path("/data/out"), Path("/data/out")),
    ],
)
def test_results_go_to_folders_and_buckets(text: str | Path, place: str | Path) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize("text", ["https://example.org/out", "abfs://c@a/out", "s3a://", "s3:///out"])
def test_results_go_nowhere_else(text: str) -> None:
    with pytest.raises(UsageError, match="Nothing can be written to"):
        place_of(text)


def test_results_of_a_cluster_are_not_left_where_its_executors_cannot_write(tmp_path: Path) -> None:
    shared = cluster(tmp_path, shared="s3://trips/.taxiway")

    assert output_location(shared, "predictions", "tip") == "s3a://trips/.taxiway/predictions/tip"
    with pytest.raises(UsageError, match=f"do not see {tmp_path}/out"):
        open_destination(tmp_path / "out", shared)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_shared_is_written_as_ever(tmp_path: Path) -> None:
    with open_destination(tmp_path / "shared" / "out", cluster(tmp_path, shared=tmp_path / "shared")) as staging:
        assert not staging.one_file
        assert staging.root.startswith(f"file://{tmp_path}/shared/out/")


def test_on_a_cluster_the_drivers_own_addresses_and_folders_are_not_the_executors(tmp_path: Path) -> None:
    local, elsewhere = session_configuration(settings_of(tmp_path)), session_configuration(cluster(tmp_path))

    mine = {"spark.driver.host", "spark.driver.bindAddress", "spark.local.dir", "spark.sql.shuffle.partitions"}
    assert mine <= set(local)
    assert not mine & set(elsewhere)


def test_what_is_set_wins_on_a_cluster_too(tmp_path: Path) -> None:
    spark = {"spark.master": MASTER, "spark.driver.host": "me", "spark.hadoop.fs.s3a.endpoint": "https://mine"}

    found = session_configuration(settings_of(tmp_path, spark=spark))

    assert spark.items() <= found.items()


def test_spark_is_told_where_s3_is_and_never_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {
        "AWS_ENDPOINT_URL_S3": "http://s3:8333",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDOFTHETEST",
        "AWS_SECRET_ACCESS_KEY": "secretofthetest",
        "AWS_SHARED_CREDENTIALS_FILE": "/run/secrets/s3_trips",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    found = session_configuration(cluster(tmp_path))

    assert found["spark.hadoop.fs.s3a.endpoint"] == "http://s3:8333"
    assert found["spark.hadoop.fs.s3a.endpoint.region"] == "us-east-1"
    assert found["spark.hadoop.fs.s3a.path.style.access"] == "true"
    told = " ".join(f"{key}={value}" for key, value in found.items())
    assert "AKIDOFTHETEST" not in told
    assert "secretofthetest" not in told
