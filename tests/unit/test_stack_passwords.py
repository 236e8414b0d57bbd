"""Secrets: where they lie, the states of a rotation, and what PostgreSQL is told of a password."""

from __future__ import annotations

import hashlib
import hmac
import os
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from taxiway.errors import NotFound, UsageError
from taxiway.settings import Settings, load_settings
from taxiway.stack.docker import Docker
from taxiway.stack.passwords import SECRETS, list_secrets, reveal, scram_verifier
from taxiway.stack.running import is_outdated, make_secrets
from taxiway.stack.services import Container


@pytest.fixture
def started(tmp_path: Path) -> Settings:
    """Settings of this checkout's stack, with secrets of the test's own as the first start makes them."""
    settings = load_settings({"home": tmp_path / "home"}, {"STACK_SECRETS": str(tmp_path / "secrets")}, tmp_path)
    make_secrets(docker(settings))
    return settings


def docker(settings: Settings) -> Docker:
    assert settings.stack is not None
    return Docker(settings.stack, ("docker", "compose"), (2, 40))


def folder_of(settings: Settings) -> Path:
    assert settings.stack is not None
    return settings.stack.secrets


def test_every_secret_that_the_first_start_makes_is_known_and_the_reverse(started: Settings) -> None:
    assert {file.name for file in folder_of(started).iterdir()} == set(SECRETS)
    listed = list_secrets(started)
    assert [secret.name for secret in listed] == list(SECRETS)
    assert all(secret.changed is not None and secret.services and not secret.unfinished for secret in listed)
    assert not any(reveal(started, secret.name) in repr(listed) for secret in listed)


def test_a_second_start_makes_none_anew(started: Settings) -> None:
    before = {name: reveal(started, name) for name in SECRETS}
    make_secrets(docker(started))
    assert {name: reveal(started, name) for name in SECRETS} == before


def test_a_new_value_waits_beside_the_one_in_use(started: Settings) -> None:
    before = reveal(started, "jupyter_token")
    make_secrets(docker(started), "jupyter_token")
    assert reveal(started, "jupyter_token") == before
    assert (folder_of(started) / "jupyter_token.new").read_text() not in ("", before)
    assert [secret.name for secret in list_secrets(started) if secret.unfinished] == ["jupyter_token"]


def test_some_can_be_asked_for_by_name(started: Settings) -> None:
    assert [secret.name for secret in list_secrets(started, ["s3_trips", "db_password"])] == ["s3_trips", "db_password"]
    with pytest.raises(UsageError, match="no secret 'jupiter_token'"):
        list_secrets(started, ["jupiter_token"])
    with pytest.raises(UsageError, match=r"no secret 'stack\.env'"):
        reveal(started, "stack.env")


def test_before_the_first_start_there_are_none(tmp_path: Path) -> None:
    settings = load_settings({}, {"STACK_SECRETS": str(tmp_path / "none")}, tmp_path)
    assert {secret.changed for secret in list_secrets(settings)} == {None}
    with pytest.raises(NotFound, match="Start it once: taxiway stack up"):
        reveal(settings, "jupyter_token")


def test_a_container_is_outdated_when_one_of_its_secrets_is_newer_than_its_start(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    for name in SECRETS:
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (now.timestamp(), now.timestamp()))

    def outdated(service: str, started: datetime | None) -> bool:
        return is_outdated(Container("id", service, "image", "running", started=started), tmp_path)

    later = now + timedelta(seconds=1)
    assert not outdated("db", later)
    os.utime(tmp_path / "s3_mlflow", (now.timestamp() + 2, now.timestamp() + 2))
    assert not outdated("db", later)
    assert outdated("mlflow_server", later)
    assert not outdated("mlflow_server", None)
    assert not outdated("somebody_elses", later)


def test_what_postgresql_is_told_proves_a_password_as_rfc_7677_has_it() -> None:
    nonce = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    said = f"n=user,r=rOprNGfwEbeRWgbNEkqO,{nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,{nonce}".encode()
    head, keys = scram_verifier("pencil", b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")).rsplit("$", 1)
    stored, server = (b64decode(key) for key in keys.split(":"))
    assert head == "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=="
    assert hmac.digest(server, said, "sha256") == b64decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    proof = b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    mask = hmac.digest(stored, said, "sha256")
    client = bytes(one ^ other for one, other in zip(proof, mask, strict=True))
    assert hashlib.sha256(client).digest() == stored
