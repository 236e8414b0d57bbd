"""MLflow's server as Taxiway shows its pages: opened at model training, and without what it does not offer.

MLflow 3.17 has no setting for any of this. It keeps in the browser what people have chosen on its pages, so its first
page carries the choices of a user who trains models, for browsers that have made none yet. MLflow's scripts stay as
they are. The stack's image has this file too: nothing here may need the rest of Taxiway.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI
    from flask import Flask, Response

PREFERENCES: Mapping[str, Any] = MappingProxyType(
    {
        # Model training, not generative AI, wherever a link does not say which.
        "mlflow.workflowType_v1": "machine_learning",
        # The notice that MLflow collects how its pages are used; and no page does.
        "mlflow.telemetry.info.alert.dismissed_v1": True,
        "mlflow.settings.telemetry.enabled_v1": False,
        # The home page's offer of demo data from generative AI.
        "mlflow.home.getting-started.collapsed_v1": True,
        # A dialog over the list of models that praises its new look.
        "_mlflow_model_registry_promo_modal_dismissed_v1": True,
        # The assistant opens by itself where the address is this machine's.
        "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": True,
    }
)
"""What MLflow 3.17 keeps in the browser's local storage, by its names there."""

# The assistant is a language model elsewhere. Its panel stays shut and its button, which has no setting, unseen.
_NO_ASSISTANT = "mlflow.assistant.panelOpen_v1"
_HIDDEN = "<style>[data-assistant-ui]{display:none!important}</style>"


def with_preferences(page: str) -> str:
    """MLflow's first page, with the preferences set before its own scripts run.

    Parameters
    ----------
    page : str
        HTML.

    Returns
    -------
    str
        What a user has chosen before, the browser keeps.
    """
    given = {name: json.dumps(value) for name, value in PREFERENCES.items()}
    script = (
        f"for(const [name,value] of Object.entries({json.dumps(given)}))"
        "if(localStorage.getItem(name)===null)localStorage.setItem(name,value);"
        f"localStorage.setItem({json.dumps(_NO_ASSISTANT)},'false')"
    )
    return page.replace("<head>", f"<head><script>{script}</script>{_HIDDEN}", 1)


def set_preferences(routes: Flask) -> None:
    """Let the first page of an MLflow server set the preferences.

    Parameters
    ----------
    routes : Flask
        ``mlflow.server.app``.
    """

    def answer(response: Response) -> Response:
        from flask import request

        # Whoever may not see the page has been refused by now.
        if request.endpoint != "serve" or response.status_code not in (200, 304):
            return response
        # Made anew, also for a browser that asks whether the page it holds is still the same.
        page = Path(str(routes.static_folder), "index.html").read_text(encoding="utf-8")
        answered = routes.make_response(with_preferences(page))
        answered.headers["Cache-Control"] = "no-store"
        return answered

    routes.after_request(answer)


def create_app() -> FastAPI:
    """The application that ``mlflow server --app-name taxiway-ui`` starts."""
    # Imported by the one process that serves: the command that starts it looks at this module as well.
    from mlflow.server import app as routes
    from mlflow.server.fastapi_app import app

    set_preferences(routes)
    served: FastAPI = app
    return served
