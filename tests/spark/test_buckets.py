"""Predictions in a bucket of a real S3 server: each month one object, replaced in one step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from object_stores import S3Server, s3_server

from taxiway import destination
from taxiway.destination import open_destination
from taxiway.errors import MachineError, NotFound, Refused, Unreachable, UsageError
from taxiway.inspection import inspect
from taxiway.scoring import score
from taxiway.settings import Settings
from trip_files import green_trips, write_trips

BUCKET = "results"
MONTH = "green:2023-03"
PARTITION = "colour=green/month=2023-03"
OBJECT = f"{PARTITION}/part-0.parquet"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as found:
        found.client().create_bucket(Bucket=BUCKET)
        yield found


@pytest.fixture(autouse=True)
def _key(server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The key in a file, as containers have it; no other key is found."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    keys = tmp_path / "keys"
    keys.write_text(f"[default]\naws_access_key_id={server.key}\naws_secret_access_key={server.secret}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def out(request: pytest.FixtureRequest) -> str:
    """A place in the bucket that no other test uses."""
    return f"s3://{BUCKET}/{request.node.name}"


def names(server: S3Server, out: str) -> list[str]:
    """Every object under a place, hidden ones as well."""
    prefix = out.partition(f"{BUCKET}/")[2] + "/"
    found = server.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return sorted(item["Key"].removeprefix(prefix) for item in found)


def read(server: S3Server, out: str, name: str = OBJECT) -> pa.Table:
    key = f"{out.partition(f'{BUCKET}/')[2]}/{name}"
    body = server.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return pq.read_table(pa.BufferReader(body))


def put(server: S3Server, out: str, name: str, content: bytes) -> None:
    server.client().put_object(Bucket=BUCKET, Key=f"{out.partition(f'{BUCKET}/')[2]}/{name}", Body=content)


def test_a_bucket_gets_what_a_folder_gets(production_model: Any, server: S3Server, out: str, tmp_path: Path) -> None:
    there = score("tip", MONTH, out, settings=production_model.settings)
    here = score("tip", MONTH, tmp_path / "out", settings=production_model.settings)

    assert names(server, out) == [OBJECT]
    (file,) = (tmp_path / "out" / PARTITION).glob("*.parquet")
    assert read(server, out).equals(pq.read_table(file, partitioning=None))
    assert there.path == out.replace("s3://", "s3a://")
    assert there.metrics == here.metrics


def test_a_month_scored_again_is_replaced_and_nothing_is_left_beside_it(
    production_model: Any, server: S3Server, out: str, tmp_path: Path
) -> None:
    score("tip", MONTH, out, settings=production_model.settings)
    write_trips(tmp_path / "trips", MONTH, green_trips(70, "2023-03", 9))

    score("tip", MONTH, out, settings=production_model.reading(tmp_path / "trips"))

    assert names(server, out) == [OBJECT]
    assert read(server, out).num_rows == 70


def test_files_of_other_names_give_way_to_the_one(production_model: Any, server: S3Server, out: str) -> None:
    score("tip", MONTH, out, settings=production_model.settings)
    former = server.client().get_object(Bucket=BUCKET, Key=f"{out.partition(f'{BUCKET}/')[2]}/{OBJECT}")["Body"].read()
    put(server, out, f"{PARTITION}/part-00000-copied-by-hand.snappy.parquet", former)

    score("tip", MONTH, out, settings=production_model.settings)

    assert names(server, out) == [OBJECT]


def test_what_is_not_this_models_is_not_replaced(production_model: Any, server: S3Server, out: str) -> None:
    put(server, out, f"{PARTITION}/notes.txt", b"mine")

    with pytest.raises(Refused, match=r"holds notes\.txt, which is not a prediction and would be replaced"):
        score("tip", MONTH, out, settings=production_model.settings)

    assert names(server, out) == [f"{PARTITION}/notes.txt"]


def test_a_process_killed_before_it_publishes_leaves_the_former_month(
    production_model: Any, server: S3Server, out: str
) -> None:
    score("tip", MONTH, out, settings=production_model.settings)
    script = f"""
import os, signal
from pathlib import Path
from taxiway.destination import open_destination
from taxiway.settings import load_settings
with open_destination({out!r}, load_settings()) as staging:
    place = Path(staging.address({PARTITION!r}).removeprefix("file://"))
    place.mkdir(parents=True)
    (place / "part.parquet").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert names(server, out) == [OBJECT]
    assert read(server, out).num_rows == 1500


def test_a_home_writes_to_a_place_once_at_a_time(settings: Settings, out: str) -> None:
    with (
        open_destination(out, settings),
        pytest.raises(Refused, match="Another process is writing"),
        open_destination(out, settings),
    ):
        pass


def test_what_this_home_left_behind_is_removed_and_what_others_did_only_when_it_is_old(
    settings: Settings, server: S3Server, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(server, out, ".taxiway-staging-another-1234/part-0.parquet", b"of another home")
    with open_destination(out, settings):
        pass
    assert names(server, out) == [".taxiway-staging-another-1234/part-0.parquet"]

    monkeypatch.setattr(destination, "_ABANDONED", timedelta(0))
    with open_destination(out, settings):
        pass
    assert names(server, out) == []


def test_rejected_trips_go_to_a_bucket_too(production_model: Any, server: S3Server, out: str, tmp_path: Path) -> None:
    trips = green_trips(50, "2023-03", 4)
    trips["fare_amount"][:4] = -1.0
    write_trips(tmp_path / "trips", MONTH, trips)

    inspect(MONTH, "tip", rejected_to=out, settings=production_model.reading(tmp_path / "trips"))

    assert names(server, out) == [OBJECT]
    assert read(server, out).num_rows == 4


def test_a_bucket_that_is_not_there_is_named(settings: Settings) -> None:
    with (
        pytest.raises(NotFound, match="There is no bucket s3a://nowhere-at-all/out"),
        open_destination("s3a://nowhere-at-all/out", settings),
    ):
        pass


def test_a_wrong_key_is_told_as_one(settings: Settings, out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")

    with pytest.raises(MachineError, match="may not be written with the key in use"), open_destination(out, settings):
        pass


def test_a_server_that_is_gone_is_told_as_one(settings: Settings, out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")

    with pytest.raises(Unreachable, match="does not answer"), open_destination(out, settings):
        pass


def test_an_address_of_another_kind_is_refused(production_model: Any) -> None:
    with pytest.raises(UsageError, match="Nothing can be written to gs://bucket/out"):
        score("tip", MONTH, "gs://bucket/out", settings=production_model.settings)
