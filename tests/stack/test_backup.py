"""Backup, restore and import for real: onto another stack, with other passwords, on another S3 server, interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from containers import PYTHON, ROOT, Completed, Stack, another, await_condition, docker, images, without_jupyterlab
from sweeps import log_model, make_sweep

from taxiway.registry import promote, register
from taxiway.settings import load_settings
from taxiway.store import connect, experiment_id
from taxiway.versions import models

pytestmark = pytest.mark.s3

KEPT = "deep/kept é.txt"
BIG = 20 * 2**20  # several pieces of an object, and several parts of an upload
BUCKET = """
import os, sys
from pathlib import Path
from place import read_place
place = read_place(os.environ, Path("/run/secrets"))
s3, bucket = place.client("s3", place.tenants[0].key), place.tenants[0].bucket
for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=sys.argv[2]):
    for item in page.get("Contents", ()):
        if sys.argv[1] == "delete":
            s3.delete_object(Bucket=bucket, Key=item["Key"])
        print(item["Key"])
"""


@dataclass(frozen=True)
class Content:
    """What a test has put into a stack."""

    recipe: str
    run: str
    text: str


def fill(stack: Stack, *, big: int = 0) -> Content:
    """A sweep with models, two versions, one of them in production, and a file or two."""
    settings, recipe, text = stack.settings(), f"kept-{uuid4().hex[:8]}", uuid4().hex
    sweep = make_sweep(settings, recipe, {"0.1": 0.6, "0.01": 0.8})
    for number in sweep.runs:
        register(recipe, settings, run=number, description=text)
    promote(f"{recipe}/2", settings)
    client = stack.client()
    client.log_text(sweep.best, text, KEPT)
    if big:
        file = stack.home / "big.bin"
        file.write_bytes(os.urandom(big))
        client.log_artifact(sweep.best, str(file))
    return Content(recipe, sweep.best, text)


def assert_there(stack: Stack, content: Content) -> None:
    """Everything that `fill` made, and that one can go on from it."""
    found = models(content.recipe, stack.settings())
    assert [(version.version, version.stage, version.disagreement) for version in found] == [
        (2, "Production", ""),
        (1, "None", ""),
    ]
    assert {version.description for version in found} == {content.text}
    client = stack.client()
    for version in found:
        assert "MLmodel" in {file.path for file in client.list_logged_model_artifacts(version.model_id)}
    assert Path(client.download_artifacts(content.run, KEPT, str(stack.home))).read_text() == content.text
    assert client.get_run(content.run).data.metrics["holdout_roc_auc"] == 0.8
    client.set_tag(content.run, "seen", "yes")


def is_there(stack: Stack, content: Content) -> bool:
    return content.recipe in {version.name for version in models(settings=stack.settings())}


def taxiway(stack: Stack, *words: str | Path, code: int = 0) -> Completed:
    """`taxiway stack …`, which must end as it is said."""
    done = stack.taxiway("stack", *map(str, words), timeout=600)
    assert done.returncode == code, done.stderr
    return done


def backup(stack: Stack, file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(taxiway(stack, "backup", file, "--json").stdout)
    return document


def in_bucket(stack: Stack, word: str, prefix: str) -> list[str]:
    """List or delete the objects of MLflow's bucket whose keys begin so."""
    arguments = ("run", "--rm", "-T", "--no-deps", "--entrypoint", PYTHON, "create_s3_buckets", "-c", BUCKET)
    return stack.compose(*arguments, word, prefix).stdout.splitlines()


@pytest.fixture(scope="module")
def elsewhere(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with its own passwords and volumes, empty at first; on the other S3 server where that has been built."""
    other, image = ("minio", "s3_minio") if stack.s3 == "seaweedfs" else ("seaweedfs", "s3")
    made = docker("image", "inspect", f"taxiway/{image}:{images().get('STACK_VERSION', '0.1.0')}", check=False)
    s3 = other if made.returncode == 0 else stack.s3
    with without_jupyterlab(another(stack, "elsewhere", tmp_path_factory.mktemp("elsewhere"), s3=s3)) as found:
        yield found


def test_a_backup_restores_onto_another_stack(stack: Stack, elsewhere: Stack, tmp_path: Path) -> None:
    content = fill(stack, big=BIG)
    file = tmp_path / "backup.tar.zst"
    made = backup(stack, file)
    assert made["missing"] == []
    assert made["counts"]["model_versions"] >= 2
    assert made["counts"]["object_bytes"] > BIG
    assert file.stat().st_mode & 0o077 == 0
    assert "is whole" in taxiway(stack, "restore", file, "--check").stdout

    restored = json.loads(taxiway(elsewhere, "restore", file, "--json").stdout)

    assert restored["counts"] == made["counts"]
    assert_there(elsewhere, content)
    # Its own passwords, and not those of the stack that the backup is of.
    url = f"{elsewhere.mlflow_url}/api/2.0/mlflow/experiments/search?max_results=1"
    codes = [requests.get(url, auth=("admin", s.accounts["admin"]), timeout=30).status_code for s in (elsewhere, stack)]
    assert codes == [200, 401]
    assert fill(elsewhere).recipe
    assert in_bucket(elsewhere, "list", "") != []


def test_a_stack_that_holds_something_is_replaced_only_when_asked(
    stack: Stack, elsewhere: Stack, tmp_path: Path
) -> None:
    content = fill(elsewhere)
    file = tmp_path / "backup.tar"
    taxiway(elsewhere, "backup", file)
    later = fill(elsewhere)
    elsewhere.client().log_text(content.run, "logged again", KEPT)
    said = taxiway(elsewhere, "restore", file, code=7).stderr
    assert "The stack is not empty" in said
    said = taxiway(elsewhere, "restore", file, "--replace", code=7).stderr
    assert "Add --yes" in said
    assert_there(elsewhere, later)

    restored = json.loads(taxiway(elsewhere, "restore", file, "--replace", "--yes", "--json").stdout)

    assert_there(elsewhere, content)
    assert not is_there(elsewhere, later)
    assert restored["removed"] == restored["replaced"]["objects"] - restored["counts"]["objects"] > 0
    assert len(in_bucket(elsewhere, "list", "")) == restored["counts"]["objects"]


def test_a_restore_that_was_killed_is_told_and_begins_anew(stack: Stack, elsewhere: Stack, tmp_path: Path) -> None:
    content = fill(stack, big=3 * BIG)
    file = tmp_path / "backup.tar"
    backup(stack, file)
    environment = {
        **elsewhere.environment,
        "TAXIWAY_HOME": str(elsewhere.home),
        "TAXIWAY_PROFILE": "stack",
        "TAXIWAY_STACK": str(ROOT),
    }
    command = [elsewhere.taxiway_command, "stack", "restore", str(file), "--replace", "--yes"]
    silent = subprocess.DEVNULL
    process = subprocess.Popen(command, env=environment, cwd=elsewhere.home, stdin=silent, stdout=silent, stderr=silent)
    noted = "SELECT shobj_description(oid, 'pg_database') FROM pg_database"
    ask = ("psql", "--tuples-only", "--command", noted)
    await_condition(lambda: "backup.tar" in elsewhere.exec("db", *ask).stdout, "the restore begun", 120)
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert elsewhere.health("mlflow_server") == "stopped"
    assert "A restore of backup.tar" in taxiway(elsewhere, "status", code=5).stdout
    # The container that carried the objects ends with the process that it worked for.
    label = f"label=com.docker.compose.project={elsewhere.project}"
    await_condition(
        lambda: "objects" not in docker("ps", "--filter", label, "--format", "{{.Names}}").stdout, "its end", 60
    )
    taxiway(elsewhere, "restore", file, "--replace", "--yes")
    assert_there(elsewhere, content)
    assert "A restore of" not in taxiway(elsewhere, "status", code=5).stdout  # JupyterLab does not run here


def test_a_backup_of_a_stack_that_is_written_to_is_consistent(stack: Stack, elsewhere: Stack, tmp_path: Path) -> None:
    settings, recipe, stop = stack.settings(), f"busy-{uuid4().hex[:8]}", threading.Event()
    client = connect(settings)
    experiment = experiment_id(client, settings, recipe)
    client.create_registered_model(recipe)

    def write() -> None:
        while not stop.is_set():
            number = client.create_run(experiment).info.run_id
            model = log_model(client, experiment, number)
            client.set_terminated(number)
            client.create_model_version(recipe, f"models:/{model}", run_id=number, model_id=model)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        await_condition(lambda: len(client.search_model_versions(f"name = '{recipe}'")) > 3, "versions", 60)
        backup(stack, tmp_path / "backup.tar")
    finally:
        stop.set()
        for writer in writers:
            writer.join(60)
    taxiway(elsewhere, "restore", tmp_path / "backup.tar", "--replace", "--yes")
    found = models(recipe, elsewhere.settings())
    assert len(found) > 3
    client = elsewhere.client()
    for version in found:
        assert "MLmodel" in {file.path for file in client.list_logged_model_artifacts(version.model_id)}, version


def test_a_version_that_has_lost_its_files_is_named(stack: Stack, elsewhere: Stack, tmp_path: Path) -> None:
    content = fill(elsewhere)
    version = models(content.recipe, elsewhere.settings())[0]
    location = connect(elsewhere.settings()).get_logged_model(version.model_id).artifact_location
    prefix = location.removeprefix("mlflow-artifacts:/").lstrip("/")
    assert in_bucket(elsewhere, "delete", prefix)

    said = taxiway(elsewhere, "backup", tmp_path / "backup.tar", code=7).stderr
    assert f"({version.model_id}) has no files in the bucket, and 1 more" in said
    assert list(tmp_path.iterdir()) == []

    made = json.loads(taxiway(elsewhere, "backup", tmp_path / "backup.tar", "--incomplete", "--json").stdout)
    assert f"{version} has no files in the bucket" in made["missing"]
    taxiway(elsewhere, "restore", tmp_path / "backup.tar", "--replace", "--yes")


def test_a_damaged_backup_changes_nothing(stack: Stack, elsewhere: Stack, tmp_path: Path) -> None:
    content = fill(elsewhere)
    file = tmp_path / "backup.tar"
    backup(stack, file)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    started = elsewhere.inspect("mlflow_server")["State"]["StartedAt"]
    assert "is damaged" in taxiway(elsewhere, "restore", file, "--replace", "--yes", code=4).stderr
    assert elsewhere.inspect("mlflow_server")["State"]["StartedAt"] == started
    assert_there(elsewhere, content)


def test_an_embedded_store_is_imported_by_the_account_of_the_profile(stack: Stack, tmp_path: Path) -> None:
    own = load_settings({"home": tmp_path / "laptop"}, {}, tmp_path)
    recipe = f"laptop-{uuid4().hex[:8]}"
    make_sweep(own, recipe, {"0.1": 0.6, "0.01": 0.8})
    register(recipe, own)
    promote(recipe, own)

    done = json.loads(taxiway(stack, "import", "--home", own.home, "--json").stdout)

    assert done["counts"]["runs"] == {"added": 3, "present": 0, "different": 0, "left_out": 0}
    version = models(recipe, stack.settings())[0]
    assert (version.version, version.stage, version.aliases) == (1, "Production", ("production",))
    assert version.metrics["holdout_roc_auc"] == 0.8
    again = json.loads(taxiway(stack, "import", "--home", own.home, "--json").stdout)
    assert {kind: count["added"] for kind, count in again["counts"].items()} == dict.fromkeys(again["counts"], 0)
