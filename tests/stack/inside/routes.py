"""All routes of the MLflow server, and the schemes that it can read artifacts from, as it has them itself."""

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from mlflow.server import app as flask
from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories
from taxiway_mlflow.app import create_app

os.environ["_MLFLOW_SGI_NAME"] = "uvicorn"  # what tells MLflow 3.17 which kind of application to make
app = create_app()


def native(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in routes:
        if hasattr(route, "original_router"):  # FastAPI 0.165 keeps a router whole in another one
            yield from native(route.original_router.routes, prefix + route.include_context.prefix)
        else:
            yield from ((method, prefix + route.path) for method in getattr(route, "methods", None) or ())


found = {(method, rule.rule) for rule in flask.url_map.iter_rules() for method in rule.methods}
found |= set(native(app.routes))
print(json.dumps({"routes": sorted(found), "schemes": sorted(get_registered_artifact_repositories())}))
