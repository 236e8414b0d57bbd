"""Which Java is taken, and why others are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from taxiway.errors import MachineError
from taxiway.java import ensure_java, find_java, major_version
from taxiway.progress import Silent
from taxiway.settings import Settings

MODULES = "java.base jdk.incubator.vector"


class Notes(Silent):
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Java but those that the test makes."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("taxiway.java._KNOWN_FOLDERS", (str(tmp_path / "jvm"),))
    monkeypatch.setattr("taxiway.java.sys.platform", "linux")


def make_java(home: Path, version: str, modules: str = MODULES) -> Path:
    """A folder that looks like a Java of a version, as its own file `release` describes it."""
    (home / "bin").mkdir(parents=True)
    java = home / "bin" / "java"
    java.write_text("#!/bin/sh\nexit 1\n")
    java.chmod(0o755)
    if version:
        (home / "release").write_text(f'JAVA_VERSION="{version}"\nMODULES="{modules}"\n')
    return home


@pytest.mark.parametrize(
    ("text", "major"), [("1.8.0_292", 8), ("17", 17), ("17.0.15", 17), ("25-ea", 25), ("21.0.2+13", 21), ("ibm", 0)]
)
def test_what_people_call_a_version(text: str, major: int) -> None:
    assert major_version(text) == major


def test_java_home_comes_first(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_java(tmp_path / "jvm" / "java-17", "17.0.15")
    chosen = make_java(tmp_path / "mine", "21.0.2")
    monkeypatch.setenv("JAVA_HOME", str(chosen))
    found = find_java(settings)
    assert (found.home, found.version, found.major, found.passed_over) == (chosen, "21.0.2", 21, ())


def test_an_old_java_is_passed_over_with_a_word(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(make_java(tmp_path / "old", "1.8.0_292")))
    usable = make_java(tmp_path / "jvm" / "java-17", "17.0.15")
    watch = Notes()
    found = ensure_java(settings, watch)
    assert found.home == usable
    assert watch.said == [f"JAVA_HOME names {tmp_path / 'old'}, which is Java 1.8.0_292; Spark needs 17 or newer"]


def test_the_command_on_the_path_leads_to_its_home(settings: Settings, tmp_path: Path) -> None:
    home = make_java(tmp_path / "somewhere", "17.0.1")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(home / "bin" / "java")
    assert find_java(settings).home == home


def test_what_spark_does_not_start_on(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, home in {
        "lacks the module jdk.incubator.vector": make_java(tmp_path / "trimmed", "17.0.1", "java.base"),
        "does not start": make_java(tmp_path / "broken", ""),
        "has no bin/java": tmp_path / "empty",
    }.items():
        monkeypatch.setenv("JAVA_HOME", str(home))
        with pytest.raises(MachineError, match=f"No Java 17 or newer was found .*{name}") as caught:
            find_java(settings)
        assert "JAVA_HOME" in caught.value.remedy


def test_one_in_the_home_is_found_again(settings: Settings) -> None:
    home = make_java(settings.home / "java" / "jdk-17.0.15+6", "17.0.15")
    assert find_java(settings).home == home.resolve()
    mac = make_java(settings.home / "java" / "a-mac" / "Contents" / "Home", "21.0.1")
    assert find_java(settings).home == mac.resolve()
