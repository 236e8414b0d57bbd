"""Locks between processes: busy or unwritable is said, and what the work inside raises is not taken for either."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import Timeout

from taxiway.errors import MachineError, Refused
from taxiway.locks import STACK, STORE, HomeLock, hold, hold_home_lock, output_lock
from taxiway.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"home": tmp_path / "home"}, {}, tmp_path)


def busy() -> Refused:
    return Refused("Somebody is here", "Wait")


def test_a_lock_is_held_while_the_block_runs_and_given_back(settings: Settings) -> None:
    with hold_home_lock(settings, STACK, busy):
        with pytest.raises(Refused, match="Somebody is here"), hold_home_lock(settings, STACK, busy):
            pytest.fail("held twice")
        with hold_home_lock(settings, STORE, busy):
            pass
    with hold_home_lock(settings, STACK, busy):
        pass


@pytest.mark.parametrize("raised", [Timeout("another lock"), PermissionError(13, "Permission denied"), ValueError()])
def test_what_the_block_raises_is_not_taken_for_a_busy_lock(settings: Settings, raised: Exception) -> None:
    with pytest.raises(type(raised)) as found, hold_home_lock(settings, STACK, busy):
        raise raised
    assert found.value is raised


def test_a_home_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    settings = load_settings({"home": tmp_path / "home"}, {}, tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "locks").write_text("")
    with pytest.raises(MachineError, match="cannot be written"), hold_home_lock(settings, STACK, busy):
        pytest.fail("held without a file")


def test_a_folder_where_the_lock_should_be_is_said(tmp_path: Path) -> None:
    def unwritable(error: OSError) -> MachineError:
        return MachineError(f"Not here: {error.strerror}", "Elsewhere")

    (tmp_path / "lock").mkdir()
    with pytest.raises(MachineError, match="Not here"), hold(tmp_path / "lock", 0, busy, unwritable):
        pytest.fail("held a folder")


def test_outputs_have_locks_of_their_own(settings: Settings) -> None:
    one, other = output_lock("s3a://trips/one"), output_lock("s3a://trips/other")
    assert one == output_lock("s3a://trips/one") != other
    assert isinstance(one, HomeLock)
    assert one.file(settings).parent == STACK.file(settings).parent
