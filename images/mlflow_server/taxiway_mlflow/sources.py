"""Where artifacts may be: in this server's own store. MLflow 3.17 reads any place that a client has written down.

A client may give an experiment the location ``file:///run/secrets``; the server would then list and send
what is there. It may name an ``s3://`` bucket, and the server would ask it with its own key.
"""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote

from flask import Flask, Response, request
from mlflow.exceptions import MlflowException

from taxiway_mlflow.bucket import SCHEME

# The store itself, and the three that lead to it or to another place of this server.
_SCHEMES = frozenset({SCHEME, "mlflow-artifacts", "models", "runs"})
_LOCATION = re.compile(r"mlflow-artifacts:/(?!/)")
# Versions of a prompt have no artifacts; MLflow writes one of two words in the place of their source.
_SOURCE = r"^(?:(?:mlflow-artifacts|models|runs):/(?!/)|(?:dummy-source|prompt-template)\Z)"


def keep_to_own_store(app: Flask, repositories: MutableMapping[str, Any]) -> None:
    """Refuse places that are not this server's, and forget how to read them.

    Parameters
    ----------
    app : Flask
        MLflow's routes.
    repositories : mapping of str to class
        MLflow's registry of artifact repositories, by scheme: without an entry in it nothing on this server can
        open a file of its own disk or speak to another store, whatever is written in its database.
    """
    for scheme in repositories.keys() - _SCHEMES:
        del repositories[scheme]
    # Read by MLflow at each creation of a version. It checks by itself that a source lies within its run or model.
    os.environ["MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX"] = _SOURCE
    app.before_request(_refuse_other_locations)


def _refuse_other_locations() -> Response | None:
    if not request.path.endswith("/mlflow/experiments/create"):
        return None
    document = request.get_json(force=True, silent=True)
    fields = document if isinstance(document, dict) else {}
    # Protocol buffers take a field by either of its names.
    locations = [str(fields[name]) for name in ("artifact_location", "artifactLocation") if fields.get(name)]
    if all(_LOCATION.match(location) and ".." not in unquote(location).split("/") for location in locations):
        return None
    error = MlflowException.invalid_parameter_value("Artifacts of this server are in its own store: name no location.")
    return Response(error.serialize_as_json(), status=400, mimetype="application/json")
