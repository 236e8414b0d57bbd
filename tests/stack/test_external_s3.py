"""The stack on an S3 server elsewhere, by settings alone: buckets and keys are there already, and no service is it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
import requests
from containers import ROOT, Stack, another, docker, run
from object_stores import S3Server, s3_server

KEYS = ("s3_mlflow", "s3_trips")


@pytest.fixture(scope="module")
def server(docker_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server that containers reach and that is none of theirs."""
    # The host is the first in Docker's own network. An engine that was never started before says no more of it.
    subnet = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}").stdout.strip()
    host = str(ip_network(subnet)[1])
    with s3_server(tmp_path_factory.mktemp("s3"), "-s3.iam.readOnly=false", host=host) as found:
        yield found


@pytest.fixture(scope="module")
def external(stack: Stack, server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that is set on it, of which nothing runs yet."""
    place = {"STACK_S3_ENDPOINT": server.endpoint, "STACK_S3_REGION": "us-east-1"}
    place |= {"STACK_S3_BUCKET": "my-mlflow", "STACK_TRIPS_BUCKET": "my-trips"}
    variables = {**stack.variables, **place}
    found = another(stack, "external", tmp_path_factory.mktemp("external"), s3="external", variables=variables)
    make_buckets_and_keys(server, found.secrets, place)
    yield found
    found.shell("clear")


def make_buckets_and_keys(server: S3Server, secrets: Path, place: dict[str, str]) -> None:
    """What whoever runs that server does: two buckets, and two users with their policies."""
    root = secrets / "s3_root"
    root.unlink()
    root.write_text(f"[default]\naws_access_key_id={server.key}\naws_secret_access_key={server.secret}\n")
    environment = {**os.environ, **place, "S3_SERVER": "seaweedfs", "PYTHONDONTWRITEBYTECODE": "1"}
    run(sys.executable, "create.py", str(secrets), cwd=ROOT / "images" / "create_s3_buckets", env=environment)
    root.unlink()


@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_is_missing_is_named_before_anything_starts(external: Stack, key: str) -> None:
    aside = (external.secrets / key).rename(external.secrets / "aside")
    try:
        refused = external.shell("start", check=False)
        assert refused.returncode == 3
        assert f"{external.secrets / key}; write it there" in refused.stderr
        told = external.taxiway("stack", "up")
        assert told.returncode == 3
        assert f"The key of the S3 endpoint is not in {external.secrets / key}" in told.stderr
    finally:
        aside.rename(external.secrets / key)


def test_files_lie_on_the_server_elsewhere_and_its_address_is_remembered(external: Stack, server: S3Server) -> None:
    started = json.loads(external.taxiway("stack", "up", "--json", timeout=600).stdout)
    assert {row["service"]: row["state"] for row in started["services"]} == {
        "db": "healthy",
        "create_s3_buckets": "done",
        "mlflow_server": "healthy",
        "jupyterlab_spark": "healthy",
    }
    place = f"{external.mlflow_url}/api/2.0/mlflow-artifacts/artifacts/0/kept.txt"
    account = ("taxiway", external.accounts["taxiway"])
    assert requests.put(place, data=b"kept", auth=account, timeout=60).ok
    stored = server.client().get_object(Bucket="my-mlflow", Key="0/kept.txt")["Body"].read()
    assert stored == b"kept"

    # A later command, in a terminal where nothing of it is set.
    later = replace(external, s3="", variables={})
    before = external.container("mlflow_server")
    assert later.taxiway("stack", "up", timeout=600).returncode == 0
    assert external.container("mlflow_server") == before
    made = json.loads(later.taxiway("stack", "backup", str(external.home / "backup.tar"), "--json").stdout)
    assert made["counts"]["objects"] == 1
    assert requests.get(place, auth=account, timeout=60).content == b"kept"
