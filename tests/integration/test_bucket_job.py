"""The job that makes the stack's buckets and keys, run as a program against a real SeaweedFS.

What it does in its container, and on MinIO, the tests of the stack see.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from object_stores import S3Server, s3_server

JOB = Path(__file__).parents[2] / "images" / "create_s3_buckets"
IN_THE_BUCKET = ("s3:ListBucket", "s3:GetBucketLocation")
WITH_ITS_OBJECTS = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")


@dataclass
class Store:
    """A server, the secret files of a stack, and the job between the two."""

    server: S3Server
    secrets: Path

    def write(self, name: str, key: tuple[str, str] | None = None) -> tuple[str, str]:
        """Write a key to a secret file: a new one, unless one is given."""
        key = key or (os.urandom(10).hex(), os.urandom(20).hex())
        text = f"[default]\naws_access_key_id={key[0]}\naws_secret_access_key={key[1]}\n"
        (self.secrets / name).write_text(text, encoding="utf-8")
        return key

    def key(self, name: str) -> tuple[str, str]:
        pairs = [line.split("=", 1)[1] for line in (self.secrets / name).read_text().split() if "=" in line]
        return pairs[0], pairs[1]

    def client(self, service: str, key: tuple[str, str]) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.server.endpoint,
            aws_access_key_id=key[0],
            aws_secret_access_key=key[1],
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}),
        )

    @property
    def root(self) -> Any:
        return self.client("s3", (self.server.key, self.server.secret))

    @property
    def iam(self) -> Any:
        return self.client("iam", (self.server.key, self.server.secret))

    def run(self, server: str = "seaweedfs", **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "STACK_S3_ENDPOINT": self.server.endpoint,
            "STACK_S3_REGION": "us-east-1",
            "STACK_S3_BUCKET": "mlflow",
            "STACK_TRIPS_BUCKET": "trips",
            "S3_SERVER": server,
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }
        done = subprocess.run(
            [sys.executable, "create.py", str(self.secrets)],
            cwd=JOB,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        for path in self.secrets.iterdir():
            assert self.key(path.name)[1] not in done.stdout + done.stderr
        return done

    def succeed(self, **variables: str) -> list[str]:
        done = self.run(**variables)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    def fail(self, server: str = "seaweedfs", **variables: str) -> str:
        """The one line that the job ends with."""
        done = self.run(server, **variables)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        return line.removeprefix("create_s3_buckets: ")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("weed"), "-s3.iam.readOnly=false", "-volume.max=60") as server:
        yield server


@pytest.fixture
def store(server: S3Server, tmp_path: Path) -> Store:
    """The server with secret files of the test's own; the job has run once."""
    store = Store(server, tmp_path)
    store.write("s3_root", (server.key, server.secret))
    store.write("s3_mlflow")
    store.write("s3_trips")
    store.succeed()
    return store


def reaches(store: Store, key: tuple[str, str], bucket: str) -> bool:
    try:
        store.client("s3", key).list_objects_v2(Bucket=bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 403:
            raise
        return False
    return True


def test_it_may_run_again_and_proves_the_same(store: Store) -> None:
    said = store.succeed()
    assert said[0] == f"seaweedfs at {store.server.endpoint}"
    assert "bucket mlflow: is there" in said
    assert "bucket trips: unfinished uploads are aborted after a day, by a lifecycle rule" in said
    for tenant, own, other in (("s3_mlflow", "mlflow", "trips"), ("s3_trips", "trips", "mlflow")):
        for held in (f"writes to {own}", f"lists {own}", f"reads from {own}", f"deletes from {own}"):
            assert f"holds: {tenant} {held}" in said
        for refused in (f"lists {other}", f"reads from {other}", f"writes to {other}", f"deletes from {other}"):
            assert f"refused: {tenant} {refused}" in said
        assert f"refused: {tenant} makes a bucket" in said
        assert f"refused: {tenant} sets what it may do" in said
    assert said == store.succeed()
    left = [
        item for name in ("mlflow", "trips") for item in store.root.list_objects_v2(Bucket=name).get("Contents", ())
    ]
    assert left == []


def test_after_a_rotation_the_former_keys_are_refused(store: Store) -> None:
    former = store.key("s3_mlflow")
    assert reaches(store, former, "mlflow")
    new = store.write("s3_mlflow")
    store.succeed()
    assert (reaches(store, former, "mlflow"), reaches(store, new, "mlflow")) == (False, True)
    assert reaches(store, store.key("s3_trips"), "trips")


def test_the_same_key_with_another_secret_replaces_it(store: Store) -> None:
    former = store.key("s3_trips")
    new = store.write("s3_trips", (former[0], os.urandom(20).hex()))
    store.succeed()
    assert (reaches(store, former, "trips"), reaches(store, new, "trips")) == (False, True)


def test_a_key_that_a_user_made_for_itself_ends_with_the_next_run(store: Store) -> None:
    made = store.client("iam", store.key("s3_mlflow")).create_access_key()["AccessKey"]
    key = made["AccessKeyId"], made["SecretAccessKey"]
    assert (reaches(store, key, "mlflow"), reaches(store, key, "trips")) == (True, False)
    store.succeed()
    assert not reaches(store, key, "mlflow")


def test_a_bucket_of_another_name_takes_the_rights_with_it(store: Store) -> None:
    said = store.succeed(STACK_S3_BUCKET="artifacts")
    assert "key s3_mlflow: good for bucket artifacts alone" in said
    key = store.key("s3_mlflow")
    assert (reaches(store, key, "artifacts"), reaches(store, key, "mlflow")) == (True, False)


def test_the_root_key_in_place_of_a_users_is_found_out(store: Store) -> None:
    store.write("s3_trips", (store.server.key, store.server.secret))
    assert store.fail() == "the key in s3_trips is another user's already; rotate it"
    assert store.fail("other") == "is not refused: s3_trips lists mlflow"


def test_rules_of_others_are_kept(store: Store) -> None:
    rule = {"ID": "of-others", "Status": "Enabled", "Filter": {"Prefix": "old/"}, "Expiration": {"Days": 30}}
    store.root.put_bucket_lifecycle_configuration(Bucket="trips", LifecycleConfiguration={"Rules": [rule]})
    store.succeed()
    rules = store.root.get_bucket_lifecycle_configuration(Bucket="trips")["Rules"]
    assert {rule["ID"] for rule in rules} == {"of-others", "abort-unfinished-uploads"}
    (ours,) = (rule for rule in rules if rule["ID"] == "abort-unfinished-uploads")
    assert ours["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}


def test_old_uploads_are_aborted_and_young_ones_left(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(JOB))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    buckets = importlib.import_module("buckets")
    upload = store.root.create_multipart_upload(Bucket="mlflow", Key="left/behind")["UploadId"]
    store.root.upload_part(Bucket="mlflow", Key="left/behind", UploadId=upload, PartNumber=1, Body=b"half")

    assert len(list(buckets.limit_uploads(store.root, "mlflow"))) == 1
    assert len(store.root.list_multipart_uploads(Bucket="mlflow")["Uploads"]) == 1

    # Servers keep whole seconds: what began in this one is older than what is a second old in a second.
    monkeypatch.setattr(buckets, "MOST", timedelta(seconds=-2))
    said = list(buckets.limit_uploads(store.root, "mlflow"))
    assert said[1:] == ["bucket mlflow: 1 unfinished upload of more than a day ago aborted"]
    assert "Uploads" not in store.root.list_multipart_uploads(Bucket="mlflow")


def allow(actions: tuple[str, ...], resource: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": [f"arn:aws:s3:::{resource}"]}


OWN = (allow(IN_THE_BUCKET, "mlflow"), allow(WITH_ITS_OBJECTS, "mlflow/*"))


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        ((OWN[0], allow(WITH_ITS_OBJECTS[:1], "mlflow/*")), "does not hold: s3_mlflow writes to mlflow;"),
        ((OWN[0], allow(WITH_ITS_OBJECTS[1:], "mlflow/*")), "does not hold: s3_mlflow reads from mlflow;"),
        ((OWN[0], allow(WITH_ITS_OBJECTS[:2], "mlflow/*")), "does not hold: s3_mlflow deletes from mlflow;"),
        ((*OWN, allow(("s3:ListBucket",), "trips")), "is not refused: s3_mlflow lists trips"),
        ((*OWN, allow(("s3:GetObject",), "trips/*")), "is not refused: s3_mlflow reads from trips"),
        ((*OWN, allow(("s3:PutObject",), "trips/*")), "is not refused: s3_mlflow writes to trips"),
        ((*OWN, allow(("s3:DeleteObject",), "trips/*")), "is not refused: s3_mlflow deletes from trips"),
        ((*OWN, allow(("s3:*",), "proof-*")), "is not refused: s3_mlflow makes a bucket"),
        ((*OWN, allow(("s3:*",), "mlflow")), "is not refused: s3_mlflow sets the policy of mlflow;"),
    ],
)
def test_too_little_and_too_much_are_found_out(
    store: Store, statements: tuple[dict[str, Any], ...], found: str
) -> None:
    """At somebody else's server the job makes nothing: it says what is wrong with the keys that it was given."""
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    store.iam.put_user_policy(UserName="mlflow", PolicyName="own-bucket-only", PolicyDocument=document)
    assert store.fail("other").startswith(found)


def test_a_bucket_that_is_open_to_all_is_found_out(store: Store) -> None:
    everybody = {**allow(("s3:GetObject",), "trips/*"), "Principal": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
    store.root.put_bucket_policy(Bucket="trips", Policy=document)
    try:
        # The first key that is proven is MLflow's, which such a policy lets in as well.
        assert store.fail("other") == "is not refused: s3_mlflow reads from trips"
    finally:
        store.root.delete_bucket_policy(Bucket="trips")


def test_a_bucket_that_is_not_there_is_named(store: Store) -> None:
    line = store.fail("other", STACK_TRIPS_BUCKET="nowhere")
    assert line in (
        f"there is no bucket 'nowhere' at {store.server.endpoint}; make it, or name another",
        f"{store.server.endpoint} does not let s3_trips into the bucket 'nowhere'",
    )


def test_all_faults_of_the_settings_are_told_at_once(store: Store) -> None:
    (store.secrets / "s3_root").unlink()
    (store.secrets / "s3_trips").write_text("aws_access_key_id=a\naws_secret_access_key=not-for-a-log\n")
    line = store.fail("ceph", STACK_S3_BUCKET="trips", STACK_S3_REGION="")
    assert line.split("; ") == [
        "STACK_S3_REGION is not set",
        "S3_SERVER is 'ceph', and not seaweedfs, minio or other",
        "STACK_S3_BUCKET and STACK_TRIPS_BUCKET are both 'trips'",
        f"{store.secrets}/s3_trips needs [default] with aws_access_key_id and aws_secret_access_key",
        f"{store.secrets}/s3_root cannot be read (No such file or directory)",
    ]


def test_no_server_is_one_line(store: Store) -> None:
    line = store.fail(STACK_S3_ENDPOINT="http://127.0.0.1:9")
    told = "http://127.0.0.1:9 does not answer (EndpointConnectionError); see whether the service s3 is healthy"
    assert line == told
