"""What nobody may use, what readers may not do, and what a page of another origin may not do.

These doors stand before all of MLflow, its own authentication and permissions included: a request that they let
through is checked there as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import anyio.to_thread
from mlflow.exceptions import MlflowException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose
from werkzeug.datastructures import Authorization

from taxiway_mlflow.stores import Stores

HEALTH = "/health/stores"
# Jobs and what starts them, webhooks, the gateway to language models, the assistant, MCP servers. Not gateway-proxy:
# MLflow's pages ask it for endpoints, and without a target of its own, as here, it names none and goes nowhere.
_CLOSED = re.compile(
    r"/gateway(/.*)?"
    r"|/(ajax-)?api/\d\.\d/(mlflow/)?(assistant|demo|gateway|genai|issues/invoke|jobs|mcp-servers"
    r"|prompt-optimization|runs/create-promptlab-run|scorer/invoke|scorers/online-configs?|webhooks)(/.*)?",
    re.DOTALL,
)
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# Questions that MLflow 3.17 takes by POST; one of them lacks a slash in its own list of routes.
_QUESTIONS = re.compile(
    r"/graphql"
    r"|/(ajax-)?api/\d\.\d/?mlflow/(datasets/search|experiments/search|experiments/search-datasets|issues/search"
    r"|logged-models/search|registered-models/get-latest-versions|runs/search|traces/batchGetInfos"
    r"|traces/calculate-filter-correlation|traces/metrics|traces/search)"
)


class Doors:
    """ASGI middleware; the outermost.

    Parameters
    ----------
    app : ASGI application
    stores : Stores
        Asked by ``GET /health/stores``, which everybody may.
    is_writer : callable
        Whether the account of that name may change anything; asks the database.
    """

    def __init__(self, app: ASGIApp, stores: Stores, is_writer: Callable[[str], bool]) -> None:
        self._app = app
        self._stores = stores
        self._is_writer = is_writer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: ASGIApp | None = None
        if scope["type"] == "http":
            answer = await self._answer(Request(scope))
        elif scope["type"] == "websocket":
            answer = WebSocketClose()  # MLflow 3.17 has none, and its authentication looks at HTTP alone
        await (answer or self._app)(scope, receive, send)

    async def _answer(self, request: Request) -> Response | None:
        """Answer what need not or must not reach MLflow."""
        # Not request.url.path, which is put together from the header Host.
        path = request.scope["path"]
        if path == HEALTH:
            faults = await self._stores.faults()
            return PlainTextResponse("\n".join(faults or ["OK"]) + "\n", 503 if faults else 200)
        if _CLOSED.fullmatch(path):
            return _refusal(404, "ENDPOINT_NOT_FOUND", "This server does not offer that.")
        if _is_of_another_origin(request):
            return _refusal(403, "PERMISSION_DENIED", "Pages of other origins may not use this server.")
        headers = request.headers.getlist("authorization")
        account = _account(headers)
        if headers and not account:
            return PlainTextResponse("Say who you are.\n", 401, {"WWW-Authenticate": 'Basic realm="mlflow"'})
        # Without an account MLflow asks for one.
        if not account or request.method in _READING or _QUESTIONS.fullmatch(path):
            return None
        return await self._refuse_readers(account)

    async def _refuse_readers(self, account: str) -> Response | None:
        try:
            writes = await anyio.to_thread.run_sync(self._is_writer, account)
        except MlflowException as error:
            return _refusal(error.get_http_status_code(), error.error_code, error.message)
        if writes:
            return None
        return _refusal(403, "PERMISSION_DENIED", f"The account {account} may read and not change anything.")


def _account(headers: list[str]) -> str:
    """The account that a request names, which is still to prove that it is.

    MLflow 3.17 reads the header in two ways, depending on the route, and ends with a fault on some that it does
    not expect. What one of them might take for another account than the other, or than we do, is none.
    """
    found = Authorization.from_header(headers[0]) if len(headers) == 1 else None
    return found.username or "" if found is not None and found.type == "basic" else ""


def _is_of_another_origin(request: Request) -> bool:
    """Whether a browser says that a page from elsewhere sends this.

    MLflow 3.17 lets pages of every port of localhost in, and looks at its API alone, not at ``/graphql``.
    """
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")


def _refusal(status: int, code: str, message: str) -> Response:
    """An error as MLflow's clients read it."""
    return JSONResponse({"error_code": code, "message": message}, status)
