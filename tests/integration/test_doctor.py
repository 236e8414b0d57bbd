"""The doctor: one line for each thing, what to do when it fails, and an exit code for scripts."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taxiway.cli import taxiway
from taxiway.doctor import LEAST_DISK, diagnose
from taxiway.settings import Settings, load_settings
from taxiway.store import connect

NAMES = ["home", "java", "memory", "disk", "tracking", "trips"]


def doctor(*options: str | Path) -> Result:
    return CliRunner().invoke(taxiway, ["doctor", *map(str, options)], standalone_mode=False)


@pytest.mark.usefixtures("java_home")
def test_one_line_for_each_thing(embedded: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taxiway.doctor.LEAST_DISK", 0)
    monkeypatch.setattr("taxiway.doctor.LEAST_MEMORY", 0)
    (tmp_path / "trips").mkdir()
    result = doctor("--home", embedded.home, "--trips-source", tmp_path / "trips")
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["ok", name] for name in NAMES]
    assert result.return_value == 0
    assert "without a server" in result.stdout


def test_each_failure_has_a_next_step(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taxiway.doctor.LEAST_DISK", 10**18)
    monkeypatch.setattr("taxiway.doctor.LEAST_MEMORY", 10**18)
    monkeypatch.setattr("taxiway.java._places", lambda settings: iter([("JAVA_HOME", tmp_path / "no-java")]))
    (tmp_path / "file").write_text("")
    options = ("--home", tmp_path / "file" / "home", "--tracking-uri", f"http://127.0.0.1:{port}", "--json")
    began = time.monotonic()
    result = doctor(*options, "--trips-source", f"http://127.0.0.1:{port}/trips")
    assert time.monotonic() - began < 10
    findings = json.loads(result.stdout)
    assert [finding["name"] for finding in findings] == NAMES
    assert [finding["ok"] for finding in findings] == [False] * len(NAMES)
    assert all(finding["next_step"] for finding in findings)
    assert result.return_value == 6


def test_a_server_and_its_version(server: Settings) -> None:
    tracking = next(finding for finding in diagnose(server) if finding.name == "tracking")
    assert tracking.ok
    assert server.tracking_uri in tracking.detail
    assert "MLflow 3." in tracking.detail


def test_no_proxy_stands_before_a_server_of_this_machine(server: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "example.org")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert [experiment.name for experiment in connect(server).search_experiments()]
    assert os.environ["no_proxy"].startswith("example.org,")


def test_a_store_that_is_no_database(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "mlflow.db").write_text("no tables")
    found = {finding.name: finding for finding in diagnose(settings)}
    assert not found["tracking"].ok
    assert "Move it away" in found["tracking"].next_step


def test_no_store_is_made_by_looking(tmp_path: Path) -> None:
    settings = load_settings({"home": tmp_path / "new", "trips_source": str(tmp_path)}, {}, tmp_path)
    found = {finding.name: finding for finding in diagnose(settings)}
    assert "made on first use" in found["tracking"].detail
    assert not (settings.home / "mlflow.db").exists()
    assert LEAST_DISK > 0
