"""The application that ``mlflow server --app-name taxiway`` starts: MLflow's with authentication, and our doors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from taxiway_mlflow import accounts

if TYPE_CHECKING:
    from fastapi import FastAPI


def create_app() -> FastAPI:
    """MLflow's server with authentication; its accounts made, its doors shut.

    The server's command imports this module too, to see that this is a function. What takes seconds to import is
    therefore imported here, in the one process that serves.
    """
    given = {
        "MLFLOW_FLASK_SERVER_SECRET_KEY": accounts.secret("mlflow_flask_key"),
        # Needed when the database is new; after that MLflow does not look at it.
        "MLFLOW_AUTH_ADMIN_PASSWORD": accounts.password(accounts.ADMIN),
    }
    with _given(given):
        from mlflow.server import auth

        app: FastAPI = auth.create_app()
    accounts.follow_secrets(auth.store)

    from mlflow.server import app as routes
    from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

    from taxiway_mlflow.doors import Doors
    from taxiway_mlflow.mlflow_pages import set_preferences
    from taxiway_mlflow.sources import keep_to_own_store
    from taxiway_mlflow.stages import number_versions
    from taxiway_mlflow.stores import stores_of_this_server

    number_versions(SqlAlchemyStore)
    keep_to_own_store(routes, get_registered_artifact_repositories())
    set_preferences(routes)
    app.add_middleware(Doors, stores=stores_of_this_server(), is_writer=partial(accounts.is_writer, auth.store))
    return app


@contextmanager
def _given(words: Mapping[str, str]) -> Iterator[None]:
    """Give MLflow, for a moment, what it takes from the environment alone.

    It is this process's own copy that changes: neither ``docker inspect`` nor a command in the container sees it.
    """
    os.environ.update(words)
    try:
        yield
    finally:
        for name in words:
            del os.environ[name]
