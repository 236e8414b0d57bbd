"""The family of errors: one line each, and an exit code that no other shares."""

from __future__ import annotations

import errno
import re

import pytest
from mlflow.exceptions import MlflowException, RestException
from requests.exceptions import HTTPError

from taxiway import errors
from taxiway.cli.faults import translate
from taxiway.errors import MachineError, TaxiwayError, Unreachable, did_you_mean


def test_each_error_has_an_exit_code_of_its_own() -> None:
    family = [TaxiwayError, *TaxiwayError.__subclasses__()]
    codes = [error.exit_code for error in family]
    assert len(set(codes)) == len(codes)
    assert 0 not in codes
    # Shells report a signal as 128 + its number: only Ctrl-C's may be used.
    assert [code for code in codes if code > 125] == [130]


def test_the_tree_in_the_file_shows_every_error_and_its_code() -> None:
    shown = dict(re.findall(r"^[├└─ ]*([A-Z]\w+) +(\d+) ", str(errors.__doc__), re.MULTILINE))
    family = (TaxiwayError, *TaxiwayError.__subclasses__())
    assert shown == {error.__name__: str(error.exit_code) for error in family}


def test_an_error_reads_as_a_message_and_a_remedy() -> None:
    assert str(TaxiwayError("It broke", "Mend it")) == "It broke. Mend it"
    assert str(TaxiwayError("It broke")) == "It broke"


@pytest.mark.parametrize(
    ("typed", "known", "remedy"),
    [
        ("fare_amnt", ["tip_amount", "fare_amount"], "Did you mean 'fare_amount'?"),
        ("FARE_AMOUNT", ["tip_amount", "fare_amount"], "Did you mean 'fare_amount'?"),
        ("xyz", ["tip", "duration"], "Known: tip, duration"),
        ("xyz", [], "There is none yet"),
        ("xyz", [f"column{n}" for n in range(13)], "Known: " + ", ".join(f"column{n}" for n in range(12)) + ", …"),
    ],
)
def test_a_misspelt_name_gets_the_closest_one_or_all(typed: str, known: list[str], remedy: str) -> None:
    assert did_you_mean(typed, known) == remedy


def test_a_full_disk_is_recognised_however_deep_it_lies() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as cause:
            raise RuntimeError("Job aborted") from cause
    except RuntimeError as error:
        found = translate(error)
    assert type(found) is MachineError
    assert "disk is full" in str(found)


@pytest.mark.parametrize(
    ("thrown", "kind", "words"),
    [
        (OSError(errno.EDQUOT, "Disk quota exceeded"), MachineError, "disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/srv/models"), MachineError, "/srv/models cannot be"),
        (OSError(errno.EROFS, "Read-only file system", "/srv/out"), MachineError, "/srv/out cannot be written"),
        (RuntimeError("java.lang.OutOfMemoryError: Java heap space"), MachineError, "ran out of memory"),
        (ConnectionResetError(errno.ECONNRESET, "reset by peer"), Unreachable, "connection was lost"),
        (ValueError("\n  first line\nsecond line"), TaxiwayError, "ValueError:   first line"),
        (KeyError(), TaxiwayError, "KeyError: KeyError"),
        (
            MlflowException(
                "API request to http://me:pw@mlflow:5000/api/2.0/runs/update failed with exception HTTPCon"
            ),
            Unreachable,
            "The MLflow server at http://mlflow:5000 stopped answering",
        ),
        (
            RestException({"error_code": "TEMPORARILY_UNAVAILABLE", "message": "The store is away.\nMore"}),
            Unreachable,
            "The MLflow server refused: TEMPORARILY_UNAVAILABLE: The store is away. Look",
        ),
        (
            HTTPError('507 Server Error: x for url: http://m/a. Response text: {"message": "No space left on device"}'),
            Unreachable,
            "The MLflow server refused: No space left on device. Look",
        ),
        (
            HTTPError("502 Server Error: Bad Gateway for url: http://m/a. Response text: <html>"),
            Unreachable,
            "The MLflow server refused: <html>. Look",
        ),
    ],
)
def test_what_the_world_throws_becomes_one_of_ours(thrown: Exception, kind: type, words: str) -> None:
    found = translate(thrown)
    assert type(found) is kind
    assert words in str(found)


def test_our_own_errors_pass_unchanged() -> None:
    ours = Unreachable("The server does not answer")
    assert translate(ours) is ours
