"""Stages on PostgreSQL: MLflow 3.17 compares a version's number with a text there, which psycopg 3 refuses."""

from __future__ import annotations

from functools import wraps
from typing import Any


def number_versions(store: Any) -> None:
    """Let a move to Staging or Production that archives another version reach PostgreSQL with a number.

    Parameters
    ----------
    store : type
        MLflow's SqlAlchemyStore of the model registry. A version that is no number goes through as it is: MLflow
        says itself what is wrong with it.
    """
    move = store.transition_model_version_stage

    @wraps(move)
    def numbered(self: Any, name: str, version: Any, *how: Any, **more: Any) -> Any:
        return move(self, name, int(version) if str(version).isdecimal() else version, *how, **more)

    store.transition_model_version_stage = numbered
