"""A partition is replaced whole or not at all, even when the process is killed at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from taxiway import partitions
from taxiway.errors import MachineError, Refused, UsageError
from taxiway.partitions import LOCK_FILE, replacing

JANUARY, FEBRUARY = "colour=green/month=2023-01", "colour=green/month=2023-02"
FILES = ("part-0.parquet", "part-1.parquet")


def write(out: Path, *names: str, text: str) -> None:
    """Replace partitions by ones whose files all hold the same text."""
    with replacing(out) as staging:
        for name in names:
            fill(staging.place(name), text)
        for name in names:
            staging.publish(name)


def write_and_be_interrupted(out: Path) -> None:
    with replacing(out) as staging:
        fill(staging.place(JANUARY), "new")
        raise KeyboardInterrupt


def fill(folder: Path, text: str) -> None:
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text(text)


def read(out: Path, name: str) -> list[str]:
    """What readers find: the text of each file of a partition, looked up as they do."""
    return [file.read_text() for file in sorted(out.glob("colour=*/month=*/*")) if file.parent == out / name]


def hidden(out: Path) -> list[str]:
    return sorted(item.name for item in out.iterdir() if item.name.startswith("."))


@pytest.fixture(params=["in one step", "by renames"])
def swap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to put a partition in the place of another; the second is that of file systems without the first."""
    if request.param == "by renames":
        monkeypatch.setattr(partitions, "_exchange", lambda one, other: False)
    return str(request.param)


def test_a_partition_is_replaced_and_nothing_else(tmp_path: Path, swap: str) -> None:
    write(tmp_path, JANUARY, FEBRUARY, text="old")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / JANUARY / "part-2.parquet").write_text("old")

    write(tmp_path, JANUARY, text="new")

    assert read(tmp_path, JANUARY) == ["new", "new"]
    assert read(tmp_path, FEBRUARY) == ["old", "old"]
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert hidden(tmp_path) == [LOCK_FILE]


def test_linux_and_macos_exchange_two_folders_in_one_step(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)

    assert partitions._exchange(tmp_path / "one", tmp_path / "other")

    assert (tmp_path / "one" / "file").read_text() == "other"
    assert (tmp_path / "other" / "file").read_text() == "one"
    assert not partitions._exchange(tmp_path / "one", tmp_path / "nothing")


def test_what_fails_before_it_is_published_changes_nothing(tmp_path: Path, swap: str) -> None:
    write(tmp_path, JANUARY, text="old")

    with pytest.raises(KeyboardInterrupt):
        write_and_be_interrupted(tmp_path)

    assert read(tmp_path, JANUARY) == ["old", "old"]
    assert hidden(tmp_path) == [LOCK_FILE]


def test_a_folder_that_nothing_came_into_is_taken_away_again(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "down"

    with pytest.raises(RuntimeError), replacing(out):
        raise RuntimeError

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), replacing(tmp_path):
        raise RuntimeError

    assert tmp_path.is_dir()


def test_only_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        replacing(tmp_path),
        pytest.raises(Refused, match="Another process is writing predictions to"),
        replacing(tmp_path),
    ):
        pytest.fail("two writers at once")


def test_staged_partitions_are_hidden_from_readers(tmp_path: Path) -> None:
    with replacing(tmp_path) as staging:
        fill(staging.place(JANUARY), "half")

        assert read(tmp_path, JANUARY) == []
        assert [item.name for item in tmp_path.glob("*") if not item.name.startswith(".")] == []


@pytest.mark.parametrize("below", [Path(), Path("deeper")])
def test_a_file_in_the_way_is_an_error_of_usage(tmp_path: Path, below: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    with pytest.raises(UsageError, match="is not a folder, or lies below a file"), replacing(file / below):
        pytest.fail("a file is no folder")


def test_a_folder_that_cannot_be_written_is_an_error_of_the_machine() -> None:
    # Nobody can make folders there, root included.
    nowhere = Path("/proc/predictions") if sys.platform == "linux" else Path("/dev/predictions")

    with pytest.raises(MachineError, match="predictions cannot be written"), replacing(nowhere):
        pytest.fail("it cannot be written")


# A process that replaces January, and kills itself before, or after, the nth change of a name that
# it makes in the folder: the real calls, stopped at every boundary that there is.
KILLED = """
import os, signal, shutil, sys
from pathlib import Path
from taxiway import partitions

out, swap, stop, name = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
if swap == "by renames":
    partitions._exchange = lambda one, other: False
calls = 0

def killing(call):
    def wrapped(*arguments, **options):
        global calls
        calls += 1
        if calls == stop:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return wrapped

Path.rename, Path.mkdir = killing(Path.rename), killing(Path.mkdir)
os.unlink, os.rmdir = killing(os.unlink), killing(os.rmdir)
partitions._exchange = killing(partitions._exchange)
with partitions.replacing(out) as staging:
    place = staging.place(name)
    place.mkdir()
    for file in ("part-0.parquet", "part-1.parquet"):
        (place / file).write_text("new")
    staging.publish(name)
"""


def killed_at(out: Path, swap: str, stop: int, name: str) -> bool:
    """Whether the process was killed at its nth call; False when it had come to its end before."""
    done = subprocess.run([sys.executable, "-c", KILLED, out, swap, str(stop), name], check=False, env=os.environ)
    assert done.returncode in (0, -signal.SIGKILL)
    return done.returncode != 0


def test_killed_at_any_moment(tmp_path: Path, swap: str) -> None:
    seen = set()
    stop = 0
    killed = True
    while killed:
        stop += 1
        out = tmp_path / str(stop)
        write(out, JANUARY, FEBRUARY, text="old")
        killed = killed_at(out, swap, stop, JANUARY)
        found = read(out, JANUARY)
        # Whole, and for the moment between two renames not there at all.
        assert found in (["old", "old"], ["new", "new"]) or (swap == "by renames" and found == [])

        write(out, FEBRUARY, text="later")

        assert read(out, JANUARY) == (found or ["old", "old"])
        assert read(out, FEBRUARY) == ["later", "later"]
        assert hidden(out) == [LOCK_FILE]
        seen.add(tuple(found))
    assert ("old", "old") in seen
    assert ("new", "new") in seen
    assert (() in seen) == (swap == "by renames")


def test_killed_while_a_former_partition_is_brought_back(tmp_path: Path) -> None:
    stop = 0
    killed = True
    while killed:
        stop += 1
        out = tmp_path / str(stop)
        write(out, JANUARY, text="old")
        # As a process leaves it that is killed between its two renames.
        former = out / ".taxiway-former" / JANUARY
        former.parent.mkdir(parents=True)
        (out / JANUARY).rename(former)

        killed = killed_at(out, "by renames", stop, FEBRUARY)
        write(out, FEBRUARY, text="later")

        assert read(out, JANUARY) == ["old", "old"]
        assert hidden(out) == [LOCK_FILE]
    assert stop > 5
