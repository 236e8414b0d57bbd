"""The commands of the stack where there is no Docker to ask, and how they draw."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from taxiway.cli import main
from taxiway.cli.live import watch_services
from taxiway.cli.stack_status import size
from taxiway.errors import Interrupted, MachineError
from taxiway.progress import Silent
from taxiway.stack import checks
from taxiway.stack.docker import parse_lines, profiles_of
from taxiway.stack.passwords import SECRETS
from taxiway.stack.services import View
from taxiway.stack.status import parse_size
from taxiway.stack_settings import S3_SERVERS

NEEDS_DOCKER = (["up"], ["down"], ["status"], ["logs"], ["clear", "--yes"], ["upgrade"], ["passwords", "--rotate"])


@pytest.fixture(autouse=True)
def terminate_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["stack", *arguments])
    return int(left.value.code or 0)


@pytest.mark.parametrize("arguments", NEEDS_DOCKER, ids=lambda arguments: arguments[0])
def test_without_docker_each_command_says_so_in_one_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ended(*arguments) == 6
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert "There is no Docker on this machine" in shown.err


@pytest.mark.parametrize("arguments", NEEDS_DOCKER, ids=lambda arguments: arguments[0])
def test_where_there_is_no_stack_each_command_says_so_in_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(*arguments, "--stack", str(tmp_path)) == 3
    assert f"{tmp_path} holds no container stack of Taxiway" in capsys.readouterr().err


def test_passwords_are_listed_by_file_and_shown_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STACK_SECRETS", str(tmp_path))
    for name in SECRETS:
        (tmp_path / name).write_text(f"value of {name}")
    assert ended("passwords", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["file"] for row in listed] == [str(tmp_path / name) for name in SECRETS]
    assert ended("passwords") == 0
    shown = capsys.readouterr().out
    assert "value of" not in shown
    assert "db_password" in shown
    assert ended("passwords", "--show", "db_password") == 0
    assert capsys.readouterr().out == "value of db_password\n"
    assert ended("passwords", "--show", "db_password", "--rotate") == 2
    assert "--show goes alone" in capsys.readouterr().err


def test_the_choices_of_an_s3_server_are_those_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("up", "--help") == 0
    assert f"[{'|'.join(S3_SERVERS)}]" in capsys.readouterr().out


def test_services_are_told_on_standard_error_one_line_for_each_change(capsys: pytest.CaptureFixture[str]) -> None:
    with watch_services() as watch:
        watch.note("Only 3.1 GB of memory are free")
        watch.show([View("db", "building", "step 1 of 9"), View("s3", "waiting", "to be created")])
        watch.show([View("db", "building", "step 2 of 9"), View("s3", "starting")])
        watch.show([View("db", "healthy"), View("s3", "starting")])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [line.split() for line in shown.err.splitlines()] == [
        ["Only", "3.1", "GB", "of", "memory", "are", "free"],
        ["db", "building"],
        ["s3", "waiting", "to", "be", "created"],
        ["s3", "starting"],
        ["db", "healthy"],
    ]


def test_an_interrupt_says_what_becomes_of_the_stack() -> None:
    with pytest.raises(Interrupted, match="What was started runs on"), watch_services():
        raise KeyboardInterrupt


class Notes(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, message: str) -> None:
        self.told.append(message)


@pytest.mark.parametrize(
    ("free", "told"),
    [
        (8_000_000_000, []),
        (3_100_000_000, ["Only 3.1 GB of memory are free, and 4 GB are comfortable: close other programs."]),
    ],
)
def test_memory_that_is_short_is_told(free: int, told: list[str]) -> None:
    notes = Notes()
    checks.judge(notes, "memory", free, (checks.COMFORTABLE_MEMORY, checks.LEAST_MEMORY), "close other programs")
    assert notes.told == told


def test_memory_that_is_too_short_ends_it() -> None:
    with pytest.raises(MachineError, match=r"Only 1\.2 GB .* the stack needs 1\.5 GB to start. Close other programs"):
        checks.judge(
            Silent(), "memory", 1_200_000_000, (checks.COMFORTABLE_MEMORY, checks.LEAST_MEMORY), "close other programs"
        )


def test_a_disk_that_is_not_on_this_machine_is_not_judged(tmp_path: Path) -> None:
    assert checks.free_disk(str(tmp_path / "elsewhere")) is None
    assert checks.free_disk("") is None
    assert checks.free_disk(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "number"),
    [("377.1MiB", 395_418_009), ("1.2GB", 1_200_000_000), ("0B", 0), ("5kB", 5000), ("N/A", None), ("", None)],
)
def test_sizes_are_read_as_docker_writes_them(text: str, number: int | None) -> None:
    assert parse_size(text) == number


@pytest.mark.parametrize(
    ("number", "text"), [(None, None), (1200, "1 kB"), (395_418_009, "395 MB"), (1_250_000_000, "1.25 GB")]
)
def test_sizes_are_written_as_people_read_them(number: int | None, text: str | None) -> None:
    assert size(number) == text


CONFIG = """\
services:
  db:
    image: postgres:18.6-trixie
  spark_master:
    image: taxiway/jupyterlab_spark:0.1.0
    profiles:
    - cluster
    read_only: true
"""


def test_the_services_of_a_profile_are_told_from_the_others() -> None:
    assert profiles_of(CONFIG, "db") == set()
    assert profiles_of(CONFIG, "spark_master") == {"cluster"}
    assert profiles_of(CONFIG, "nobody") == set()


def test_json_comes_as_lines_or_as_a_list() -> None:
    assert parse_lines('{"a": 1}\n{"a": 2}\n') == [{"a": 1}, {"a": 2}]
    assert parse_lines('[{"a": 1}]') == [{"a": 1}]
    assert parse_lines("\n") == []
