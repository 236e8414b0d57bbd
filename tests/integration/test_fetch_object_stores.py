"""Trips in object stores: S3 from SeaweedFS, Azure from Azurite, both real servers on loopback."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from object_stores import AzureServer, S3Server, azure_server, s3_server

from taxiway.errors import BadData, NotFound, Unreachable
from taxiway.settings import Settings, load_settings
from taxiway.trips.source import check_source, fetch

BUCKET = "trips"
CONTAINER = "nyctlc"
JANUARY = "green_tripdata_2023-01.parquet"
AZURE_JANUARY = "green/puYear=2023/puMonth=1"


def table(rows: int) -> bytes:
    begin = datetime(2023, 1, 5, 8, 30)
    columns: dict[str, Any] = {
        "lpep_pickup_datetime": begin,
        "lpep_dropoff_datetime": begin + timedelta(minutes=9),
        "passenger_count": 1,
        "trip_distance": 2.5,
        "RatecodeID": 1,
        "payment_type": 1,
        "fare_amount": 12.5,
        "tip_amount": 2.0,
    }
    return as_parquet(pa.table({name: [value] * rows for name, value in columns.items()}))


def azure_table(rows: int) -> bytes:
    """Trips as Azure Open Datasets publishes them: camelCase, instants, payment and surcharge as text."""
    begin = datetime(2023, 1, 5, 8, 30, tzinfo=UTC)
    columns: dict[str, Any] = {
        "vendorID": 2,
        "lpepPickupDatetime": begin,
        "lpepDropoffDatetime": begin + timedelta(minutes=9),
        "passengerCount": 1,
        "tripDistance": 2.5,
        "puLocationId": "166",
        "doLocationId": "143",
        "rateCodeID": 1,
        "storeAndFwdFlag": "N",
        "paymentType": "credit card",
        "fareAmount": 12.5,
        "extra": 0.5,
        "mtaTax": 0.5,
        "improvementSurcharge": "0.3",
        "tipAmount": 2.0,
        "tollsAmount": 0.0,
        "totalAmount": 15.8,
    }
    return as_parquet(pa.table({name: [value] * rows for name, value in columns.items()}))


def as_parquet(trips: pa.Table) -> bytes:
    buffer = BytesIO()
    pq.write_table(trips, buffer)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the developer's own keys nor a cloud machine's are found."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        client = server.client()
        client.create_bucket(Bucket=BUCKET)
        for name, content in {
            f"tlc/{JANUARY}": table(30),
            "tlc/green_tripdata_2023-02.parquet": table(40),
            "tlc/green_tripdata_2023-03.parquet": table(50)[:-7],
            f"copy/{AZURE_JANUARY}/part-0.parquet": azure_table(3),
        }.items():
            client.put_object(Bucket=BUCKET, Key=name, Body=content)
        yield server


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServer]:
    with azure_server(tmp_path_factory.mktemp("azure")) as server, server.client() as client:
        container = client.create_container(CONTAINER, public_access="container")
        container.upload_blob(f"{AZURE_JANUARY}/part-00000-c000.snappy.parquet", azure_table(30))
        container.upload_blob(f"{AZURE_JANUARY}/part-00001-c000.snappy.parquet", azure_table(12))
        container.upload_blob(f"{AZURE_JANUARY}/_SUCCESS", b"")
        container.upload_blob("green/puYear=2023/puMonth=2/part-00000-c000.snappy.parquet", azure_table(5))
        container.upload_blob(f"tlc/{JANUARY}", table(20))
        yield server


def settings_for(source: str, tmp_path: Path) -> Settings:
    return load_settings({"home": tmp_path / "home", "trips_source": source}, {}, tmp_path)


def set_all(monkeypatch: pytest.MonkeyPatch, variables: Any) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def unreachable_address() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_months_in_a_bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_all(monkeypatch, s3.variables)
    settings = settings_for(f"s3://{BUCKET}/tlc", tmp_path)

    found = fetch("green:2023-02,green:2023-01", settings)

    assert [item.rows for item in found] == [40, 30]
    assert found[0].source == f"s3://{BUCKET}/tlc"
    assert (
        Path(found[1].paths[0]).read_bytes()
        == s3.client().get_object(Bucket=BUCKET, Key=f"tlc/{JANUARY}")["Body"].read()
    )
    assert check_source(settings) == f"s3://{BUCKET}/tlc answers"


def test_a_month_in_a_bucket_is_fetched_once(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = settings_for(f"s3://{BUCKET}/tlc", tmp_path)
    set_all(monkeypatch, s3.variables)
    found = fetch("green:2023-01", settings)

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", unreachable_address())

    assert fetch("green:2023-01", settings) == found


def test_an_object_is_taken_up_where_its_download_stopped(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first half is of our making: that it stays shows that only the rest was asked for."""
    set_all(monkeypatch, s3.variables)
    settings = settings_for(f"s3://{BUCKET}/tlc", tmp_path)
    whole = Path(fetch("green:2023-01", settings)[0].paths[0])
    content = whole.read_bytes()
    etag = s3.client().head_object(Bucket=BUCKET, Key=f"tlc/{JANUARY}")["ETag"]
    marked = content[:4] + bytes([content[4] ^ 1]) + content[5:]

    whole.unlink()
    whole.with_name(f"{JANUARY}.part").write_bytes(marked[:200])
    whole.with_name(f"{JANUARY}.part.json").write_text(json.dumps({"identity": etag}))
    fetch("green:2023-01", settings)
    assert whole.read_bytes() == marked

    whole.unlink()
    whole.with_name(f"{JANUARY}.part").write_bytes(marked[:200])
    whole.with_name(f"{JANUARY}.part.json").write_text(json.dumps({"identity": '"of another object"'}))
    fetch("green:2023-01", settings)
    assert whole.read_bytes() == content


def test_what_a_bucket_lacks(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_all(monkeypatch, s3.variables)

    with pytest.raises(NotFound, match=r"green:2023-04 is not published at s3://trips/tlc"):
        fetch("green:2023-04", settings_for(f"s3://{BUCKET}/tlc", tmp_path))
    with pytest.raises(BadData, match=r"s3://trips/tlc/green_tripdata_2023-03.parquet .* cut off"):
        fetch("green:2023-03", settings_for(f"s3://{BUCKET}/tlc", tmp_path))
    for place in ("s3://no-such-bucket/tlc", f"s3://{BUCKET}/no-such-prefix"):
        with pytest.raises(NotFound, match=f"There is no bucket, container or folder {place}"):
            check_source(settings_for(place, tmp_path))


def test_the_layout_of_azure_in_a_bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_all(monkeypatch, s3.variables)

    found = fetch("green:2023-01", settings_for(f"s3://{BUCKET}/copy", tmp_path))[0]

    assert found.rows == 3
    assert found.facts[0].columns["payment_type"] == ("paymentType",)


def test_a_wrong_key_is_said_to_be_wrong(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_all(monkeypatch, {**s3.variables, "AWS_SECRET_ACCESS_KEY": "wrong"})

    with pytest.raises(Unreachable, match=r"does not take our credentials \(SignatureDoesNotMatch\)"):
        fetch("green:2023-01", settings_for(f"s3://{BUCKET}/tlc", tmp_path))


def test_without_credentials_a_bucket_is_asked_anonymously(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.endpoint)
    # Who has no keys is looked for in the cloud's own network too, for seconds where there is none.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3.client().create_bucket(Bucket="open")
    s3.client().put_object(Bucket="open", Key=JANUARY, Body=table(8))
    with pytest.raises(NotFound, match="is not published at s3://open"):
        fetch("green:2023-01", settings_for("s3://open", tmp_path))
    public = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"]}
    policy = {
        "Version": "2012-10-17",
        "Statement": [{**public, "Resource": ["arn:aws:s3:::open", "arn:aws:s3:::open/*"]}],
    }
    s3.client().put_bucket_policy(Bucket="open", Policy=json.dumps(policy))

    assert fetch("green:2023-01", settings_for("s3://open", tmp_path))[0].rows == 8


def test_a_store_that_nobody_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    address = unreachable_address()
    keys = {"AWS_ENDPOINT_URL_S3": address, "AWS_ACCESS_KEY_ID": "some", "AWS_SECRET_ACCESS_KEY": "key"}
    set_all(monkeypatch, keys)
    connection = f"BlobEndpoint={address}/nobody;AccountName=nobody;AccountKey=c29tZQ=="
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection)

    for source in ("s3://trips", "azure"):
        with pytest.raises(Unreachable, match=r"does not answer \(connection refused\)"):
            fetch("green:2023-01", settings_for(source, tmp_path))


def test_azure_open_datasets(azure: AzureServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The public container, asked anonymously: the connection names an endpoint and no key."""
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"BlobEndpoint={azure.endpoint}")
    settings = settings_for("azure", tmp_path)

    found = fetch("green:2023-01..2023-02", settings)

    assert [item.rows for item in found] == [42, 5]
    assert len(found[0].paths) == 2
    assert found[0].source == "abfs://nyctlc@azureopendatastorage.dfs.core.windows.net"
    assert found[0].facts[0].columns["pickup_at"] == ("lpepPickupDatetime",)
    assert found[0].facts[0].columns["rate_code_id"] == ("rateCodeID",)
    names = [Path(path).name for item in found for path in item.paths]
    assert len(set(names)) == 3
    assert "answers" in check_source(settings)

    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"BlobEndpoint={unreachable_address()}/nobody")
    assert fetch("green:2023-01..2023-02", settings) == found


def test_a_month_of_which_a_part_is_missing_is_not_whole(
    azure: AzureServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure.connection)
    settings = settings_for("azure", tmp_path)
    found = fetch("green:2023-01", settings)[0]
    Path(found.paths[1]).unlink()

    assert fetch("green:2023-01", settings)[0] == found


def test_a_container_of_ones_own(azure: AzureServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure.connection)
    place = f"abfs://{CONTAINER}@taxiwaytests.dfs.core.windows.net"

    assert fetch("green:2023-01", settings_for(f"{place}/tlc", tmp_path))[0].rows == 20
    with pytest.raises(NotFound, match="is not published at abfs://nyctlc@"):
        fetch("green:2023-02", settings_for(f"{place}/tlc", tmp_path))
    with pytest.raises(NotFound, match="There is no bucket, container or folder abfs://nobody@"):
        check_source(settings_for("abfs://nobody@taxiwaytests.dfs.core.windows.net", tmp_path))
