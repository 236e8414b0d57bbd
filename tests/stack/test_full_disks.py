"""Disks that are full: one clear line, nothing half done, and all as before when there is room again."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from containers import HERE, Completed, Stack, another, await_condition, docker, run, without_jupyterlab

pytestmark = pytest.mark.s3

PIECE = 16 * 2**20
RECIPE = str(HERE / "inside" / "quick.py")
TRAIN = ("train", "--recipe", RECIPE, "--train", "yellow:2018-01", "--holdout", "yellow:2018-02", "--json")


@pytest.fixture(scope="module")
def small(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own with little room: 24 MiB for the spool, 448 MiB for S3."""
    variables = {**stack.variables, "STACK_OVERRIDE": str(HERE / "small.yaml")}
    with without_jupyterlab(another(stack, "small", tmp_path_factory.mktemp("small"), variables=variables)) as found:
        yield found


def put(stack: Stack, name: str, data: bytes) -> requests.Response:
    """Upload an artifact."""
    account = ("taxiway", stack.accounts["taxiway"])
    return requests.put(artifact(stack, name), data=data, auth=account, timeout=120)


def get(stack: Stack, name: str) -> requests.Response:
    account = ("taxiway", stack.accounts["taxiway"])
    return requests.get(artifact(stack, name), auth=account, timeout=120)


def artifact(stack: Stack, name: str) -> str:
    return f"{stack.mlflow_url}/api/2.0/mlflow-artifacts/artifacts/0/{name}"


def train(stack: Stack, trips: Path) -> Completed:
    """Train on this machine, on the stack."""
    return stack.taxiway(*TRAIN, env={"TAXIWAY_TRIPS_SOURCE": str(trips)})


def running(stack: Stack) -> list[object]:
    experiment = stack.mlflow("experiments/get-by-name?experiment_name=quick")["experiment"]["experiment_id"]
    answer = stack.mlflow("runs/search", experiment_ids=[experiment], filter="attributes.status = 'RUNNING'")
    return list(answer.get("runs", []))


def test_the_spool_is_full(small: Stack, real_trips: Path) -> None:
    name = f"{uuid4().hex}.bin"
    refused = put(small, name, os.urandom(2 * PIECE))
    assert refused.status_code == 507
    assert "/spool is full" in refused.json()["message"]
    assert get(small, name).status_code == 404
    # What did not fit is gone from there, and what fits still passes.
    assert small.exec("mlflow_server", "sh", "-c", "find /spool -type f").stdout == ""
    data = os.urandom(PIECE)
    assert put(small, name, data).ok
    assert get(small, name).content == data


def test_s3_is_full(small: Stack, real_trips: Path) -> None:
    kept: dict[str, str] = {}
    # Small ones after the large ones: some servers refuse early what is large, and would let a small model in.
    for size in (PIECE // 2, PIECE // 512):
        while (answer := put(small, name := f"{uuid4().hex}.bin", data := os.urandom(size))).ok:
            kept[name] = hashlib.sha256(data).hexdigest()
            assert len(kept) < 1_000, "this disk does not fill"
    assert kept
    assert answer.status_code == 507
    assert "The artifact store" in answer.json()["message"]
    assert get(small, name).status_code == 404

    begun = time.monotonic()
    done = train(small, real_trips)
    assert done.returncode != 0
    assert len([line for line in done.stderr.splitlines() if line.startswith("taxiway: ")]) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - begun < 120

    assert running(small) == []
    enlarge(small)
    small.wait_healthy("s3", "mlflow_server")
    await_condition(lambda: put(small, name, data).ok, "an upload into the larger disk", 60)
    done = train(small, real_trips)
    assert done.returncode == 0, done.stderr
    for name, digest in kept.items():
        assert hashlib.sha256(get(small, name).content).hexdigest() == digest


def enlarge(stack: Stack) -> None:
    """Give the disk of S3 more room, as whoever runs the machine would."""
    volume = f"{stack.project}_{'s3_minio' if stack.s3 == 'minio' else 's3'}"
    place = docker("volume", "inspect", "--format", "{{.Mountpoint}}", volume).stdout.strip()
    root = () if os.geteuid() == 0 else ("sudo",)
    run(*root, "mount", "-o", "remount,size=2g", place)
