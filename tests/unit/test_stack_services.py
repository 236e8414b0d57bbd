"""The services: as compose.yaml has them, and how each one looks while it starts, runs and fails."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from taxiway.stack.passwords import SECRETS
from taxiway.stack.services import SERVICES, Container, View, containers_of, failed, in_order, look

ROOT = Path(__file__).parents[2]
NAMES = ("jupyterlab_spark", "mlflow_server", "db", "s3", "create_s3_buckets")


def compose(file: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))


def container(service: str, status: str = "running", **more: Any) -> Container:
    return Container(f"id-{service}", service, f"taxiway/{service}:0.1.0", status, **more)


def seen(*containers: Container, building: dict[str, str] | None = None) -> dict[str, tuple[str, str]]:
    found = {item.service: item for item in containers}
    views = look(NAMES, found, lambda ident: f"last words of {ident}", building)
    return {view.service: (view.state, view.detail) for view in views}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_as_the_compose_file_has_it(name: str) -> None:
    service, written = SERVICES[name], compose("compose.yaml")["services"][name]
    minio = compose("compose.minio.yaml")["services"].get(name, {})
    assert set(written.get("depends_on", {})) == set(service.waits_for)
    assert set(written.get("secrets", ())) == set(service.secrets)
    mounted = {volume.partition(":")[0] for volume in (*written.get("volumes", ()), *minio.get("volumes", ()))}
    assert {volume for volume in mounted if not volume.startswith(".")} == set(service.volumes)
    assert (written["restart"] == "no") == service.one_shot


def test_no_service_and_no_secret_of_the_compose_file_is_unknown() -> None:
    whole = compose("compose.yaml")
    assert set(whole["services"]) == set(SERVICES)
    assert set(whole["secrets"]) == set(SECRETS)


def test_what_inspect_says_is_read() -> None:
    document = {
        "Id": "0a1b",
        "RestartCount": 2,
        "Config": {
            "Image": "taxiway/mlflow_server:0.1.0",
            "Labels": {"com.docker.compose.service": "mlflow_server"},
        },
        "State": {
            "Status": "running",
            "ExitCode": 0,
            "StartedAt": "2026-03-01T10:20:30.123456789Z",
            "Health": {
                "Status": "unhealthy",
                "FailingStreak": 21,
                "Log": [{"Output": "old"}, {"Output": "the bucket\ndoes not answer\n"}],
            },
        },
        "Mounts": [
            {"Type": "volume", "Destination": "/spool"},
            {"Type": "bind", "Destination": "/run/secrets/s3_mlflow"},
        ],
    }
    found = containers_of([document])["mlflow_server"]
    assert found == Container(
        "0a1b",
        "mlflow_server",
        "taxiway/mlflow_server:0.1.0",
        "running",
        health="unhealthy",
        health_output="does not answer",
        failures=21,
        restarts=2,
        started=datetime(2026, 3, 1, 10, 20, 30, 123456, UTC),
        volumes=("/spool",),
    )


def test_one_that_never_started_has_no_moment() -> None:
    document = {
        "Id": "0a1b",
        "Config": {"Image": "x", "Labels": {"com.docker.compose.service": "db"}},
        "State": {"Status": "created", "StartedAt": "0001-01-01T00:00:00Z"},
    }
    assert containers_of([document])["db"].started is None


def test_before_anything_is_there_each_says_what_it_waits_for() -> None:
    assert seen() == {
        "jupyterlab_spark": ("waiting", "for mlflow_server"),
        "mlflow_server": ("waiting", "for db, create_s3_buckets"),
        "db": ("waiting", "to be created"),
        "s3": ("waiting", "to be created"),
        "create_s3_buckets": ("waiting", "for s3"),
    }


def test_while_images_are_built_it_is_said_how_far_they_are() -> None:
    found = seen(building={"s3": "step 3 of 9"})
    assert found["s3"] == ("building", "step 3 of 9")
    assert found["create_s3_buckets"] == ("waiting", "for s3")


def test_on_the_way_up() -> None:
    found = seen(
        container("db", health="healthy"),
        container("s3", health="starting", health_output="connection refused"),
        container("create_s3_buckets", "created"),
        container("mlflow_server", "created"),
    )
    assert found == {
        "db": ("healthy", ""),
        "s3": ("starting", "connection refused"),
        "create_s3_buckets": ("waiting", "for s3"),
        "mlflow_server": ("waiting", "for create_s3_buckets"),
        "jupyterlab_spark": ("waiting", "for mlflow_server"),
    }


@pytest.mark.parametrize(
    ("item", "state", "detail"),
    [
        (container("create_s3_buckets"), "working", ""),
        (container("create_s3_buckets", "exited", exit_code=0), "done", ""),
        (container("create_s3_buckets", "exited", exit_code=1), "failed", "last words of id-create_s3_buckets"),
        (container("db"), "running", ""),
        (container("db", "exited", exit_code=0), "stopped", ""),
        (container("db", "exited", exit_code=1), "stopped", ""),
        (container("db", "exited", exit_code=127, error="no such file: serve"), "failed", "no such file: serve"),
        (
            container("db", "created", error="listen tcp4 127.0.0.1:15000: bind: address already in use"),
            "failed",
            "Port 15000 is taken by another program",
        ),
        (container("db", "paused"), "paused", "docker unpause lets it go on"),
        (container("db", health="healthy", health_output="no role", failures=1), "healthy", ""),
        (container("db", health="healthy", health_output="no role", failures=2), "failing", "no role"),
        (container("db", health="unhealthy", health_output="no role"), "failed", "no role"),
        (container("db", "restarting", restarts=1), "starting", "starts again after: last words of id-db"),
        (container("db", "restarting", restarts=3), "failed", "starts again after: last words of id-db"),
    ],
)
def test_each_state_has_a_word_and_a_reason(item: Container, state: str, detail: str) -> None:
    assert seen(container("s3", health="healthy"), item)[item.service] == (state, detail)


def test_one_that_wrote_nothing_is_told_by_its_code() -> None:
    ended = container("create_s3_buckets", "exited", exit_code=127)
    views = look(["create_s3_buckets"], {ended.service: ended}, lambda _: "")
    assert views == (View("create_s3_buckets", "failed", "it ended with code 127 and wrote nothing"),)


def test_the_failure_that_others_wait_for_is_the_one_to_tell() -> None:
    views = [View("mlflow_server", "failed"), View("db", "failed"), View("s3", "healthy")]
    assert failed(views) == View("db", "failed")
    assert failed([View("db", "healthy")]) is None


def test_services_of_others_come_last() -> None:
    assert in_order(["mine", "mlflow_server", "db"]) == ["db", "mlflow_server", "mine"]
