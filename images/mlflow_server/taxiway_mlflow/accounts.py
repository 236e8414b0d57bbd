"""The three accounts of the stack, and how they follow the files that hold their passwords."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

ADMIN, WRITER, READER = "admin", "taxiway", "reader"
# What the writer may change besides what it has made itself: all that was restored, imported, or made by the admin.
_WRITERS_RESOURCES = ("experiment", "registered_model", "prompt")


def secret(name: str) -> str:
    """What one of the stack's secret files holds."""
    return Path(os.environ.get("STACK_SECRETS") or "/run/secrets", name).read_text(encoding="utf-8").strip()


def password(account: str) -> str:
    """The password that an account has from this start on."""
    return secret(f"mlflow_{account}_password")


def follow_secrets(store: Any) -> None:
    """Make the accounts equal to the secret files; an account that is equal already is left alone.

    Parameters
    ----------
    store : mlflow.server.auth.sqlalchemy_store.SqlAlchemyStore
    """
    for name in (ADMIN, WRITER, READER):
        _follow(store, name, password(name), is_admin=name == ADMIN)
    for kind in _WRITERS_RESOURCES:
        store.grant_user_permission(WRITER, kind, "*", "MANAGE")


def is_writer(store: Any, name: str) -> bool:
    """Whether an account may change anything: the stack's own two, and whom the admin has made an admin."""
    return name in (ADMIN, WRITER) or (store.has_user(name) and store.get_user(name).is_admin)


def _follow(store: Any, name: str, word: str, *, is_admin: bool) -> None:
    if not store.has_user(name):
        store.create_user(name, word, is_admin=is_admin)
    elif not store.authenticate_user(name, word) or store.get_user(name).is_admin != is_admin:
        store.update_user(name, password=word, is_admin=is_admin)
