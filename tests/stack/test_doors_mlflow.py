"""The doors of the MLflow server that must stay shut, asked from outside, on each route that the server has."""

from __future__ import annotations

import base64
import http.client
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from containers import Stack

# What the stack does not offer to anybody, by the words in the routes that MLflow has for it.
CLOSED = ("jobs", "webhooks", "gateway", "assistant", "mcp-servers", "invoke", "demo", "promptlab", "online-config")
# What everybody may see: that the server lives, that its stores do, what MLflow it is, how its pages look.
PUBLIC = {
    "/health",
    "/health/stores",
    "/api/3.0/mlflow/server-info",
    "/ajax-api/3.0/mlflow/server-info",
    "/static-files/<path:path>",
}
# POST is a question here, and readers may ask it.
QUESTIONS = {
    "/graphql",
    "mlflow/datasets/search",
    "mlflow/experiments/search",
    "mlflow/experiments/search-datasets",
    "mlflow/issues/search",
    "mlflow/logged-models/search",
    "mlflow/registered-models/get-latest-versions",
    "mlflow/runs/search",
    "mlflow/traces/batchGetInfos",
    "mlflow/traces/calculate-filter-correlation",
    "mlflow/traces/metrics",
    "mlflow/traces/search",
}
FOREIGN_HOSTS = (
    "evil.example.com",
    "10.evil.example.com",
    "192.168.evil.example.com",
    "localhost.evil.example.com",
    "mlflow_server.evil.example.com:5000",
    "mlflow_server",
    "10.0.0.1:5000",
)
FOREIGN_ORIGINS = ("https://evil.example.com", "http://localhost:8888", "http://127.0.0.1:1", "null")
OUTSIDE = ("../../../../../../etc/passwd", "/etc/passwd", "1/../../../etc/passwd", "file:///etc/passwd", "..")
OTHER_PLACES = (
    "file:///run/secrets",
    "/run/secrets",
    "s3://mlflow/1",
    "s3://trips",
    "proxied-s3://mlflow/1",
    "http://s3:8333/mlflow",
    "http://mlflow_server:5000/api/2.0/mlflow-artifacts/artifacts/1",
    "ftp://db/1",
    "mlflow-artifacts://db:5432/1",
    "mlflow-artifacts:/../../etc",
    "mlflow-artifacts:/1/%2e%2e/%2e%2e/etc",
)
API = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass(frozen=True)
class Route:
    method: str
    template: str

    @property
    def path(self) -> str:
        """An address on this route: `1` in the place of each variable part."""
        return re.sub(r"<[^>]*>|\{[^}]*\}", "1", self.template)

    @property
    def closed(self) -> bool:
        # A word counts where MLflow wrote it, not in the name of a variable part.
        written = re.sub(r"<[^>]*>|\{[^}]*\}", "", self.template).replace("gateway-proxy", "")
        return any(word in written for word in CLOSED)

    @property
    def question(self) -> bool:
        return re.sub(r"^/(ajax-)?api/\d\.\d/?", "", self.template) in QUESTIONS


@dataclass(frozen=True)
class Server:
    """The server's port, asked without a client that would tidy up what is asked."""

    stack: Stack

    def ask(
        self,
        method: str,
        path: str,
        account: str = "",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        password: str | None = None,
    ) -> tuple[int, str]:
        """Status and text of an answer; a body that is not bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.mlflow_port, timeout=60)
        sent = {"Host": f"127.0.0.1:{self.stack.mlflow_port}", "Content-Type": "application/json", **(headers or {})}
        if account:
            word = self.stack.accounts[account] if password is None else password
            sent["Authorization"] = "Basic " + base64.b64encode(f"{account}:{word}".encode()).decode()
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        try:
            connection.putrequest(method, path, skip_host=True)
            for name, value in {**sent, "Content-Length": str(len(data))}.items():
                connection.putheader(name, value)
            connection.endheaders(data)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def done(self, method: str, path: str, account: str = "taxiway", body: Any = None) -> Any:
        """What a request answers that must succeed."""
        status, text = self.ask(method, path, account, body)
        assert status == 200, f"{method} {path}: {status} {text[:500]}"
        return json.loads(text) if text.startswith("{") else text


@dataclass(frozen=True)
class Trial:
    """An experiment of the admin's with a run, one artifact in it, and a registered model of one version."""

    experiment: str
    run: str
    model: str

    @property
    def artifact(self) -> str:
        return f"{self.experiment}/{self.run}/artifacts/notes/hello.txt"


@pytest.fixture(scope="module")
def server(stack: Stack) -> Server:
    return Server(stack)


@pytest.fixture(scope="module")
def itself(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = stack.python("mlflow_server", "routes.py")
    return found


@pytest.fixture(scope="module")
def routes(itself: dict[str, Any]) -> list[Route]:
    found = [Route(method, template) for method, template in itself["routes"] if method not in ("HEAD", "OPTIONS")]
    assert len(found) > 300
    return [*found, Route("GET", "/health/stores")]


@pytest.fixture(scope="module")
def trial(server: Server) -> Iterator[Trial]:
    name = f"doors-{uuid.uuid4().hex}"
    experiment = server.done("POST", f"{API}/experiments/create", "admin", {"name": name})["experiment_id"]
    # The admin's experiment, the writer's run: the account that commands use may work on what is not its own.
    run = server.done("POST", f"{API}/runs/create", "taxiway", {"experiment_id": experiment})["run"]["info"]["run_id"]
    server.done("POST", f"{API}/registered-models/create", "taxiway", {"name": name})
    made = Trial(experiment, run, name)
    server.done("PUT", f"{ARTIFACTS}/{made.artifact}", "taxiway", b"hello")
    source = f"mlflow-artifacts:/{experiment}/{run}/artifacts/notes"
    server.done("POST", f"{API}/model-versions/create", "taxiway", {"name": name, "source": source, "run_id": run})
    yield made
    server.done("DELETE", f"{API}/registered-models/delete", "taxiway", {"name": name})
    server.done("POST", f"{API}/experiments/delete", "taxiway", {"experiment_id": experiment})


def let_in(server: Server, routes: list[Route], accounts: tuple[str, ...], password: str | None = None) -> set[str]:
    """The routes that do not answer 401 to accounts in turn, apart from those that are closed to everybody."""

    def status(number: int, route: Route) -> int:
        return server.ask(route.method, route.path, accounts[number % len(accounts)], b"", None, password)[0]

    asked = [route for route in routes if not route.closed]
    # Side by side: a wrong password costs the server a tenth of a second or more, on purpose.
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(status, range(len(asked)), asked))
    return {route.template for route, answer in zip(asked, answers, strict=True) if answer != 401}


def test_without_an_account_every_route_asks_for_one(server: Server, routes: list[Route]) -> None:
    assert let_in(server, routes, ("",)) == PUBLIC


def test_with_a_wrong_password_every_route_asks_for_the_right_one(server: Server, routes: list[Route]) -> None:
    assert let_in(server, routes, ("admin", "taxiway"), password="wrong" * 5) == PUBLIC


@pytest.mark.parametrize(
    "header",
    ["Basic", "Basic %%%", "Basic dGF4aXdheQ==", "Bearer taxiway", "Basic\tdGF4aXdheTp4", "basic  Onh4", "Digest a=b"],
)
def test_an_authorization_that_is_none_is_refused(server: Server, header: str) -> None:
    for method, path in (("GET", f"{API}/experiments/get"), ("POST", f"{API}/runs/create"), ("PUT", f"{ARTIFACTS}/1")):
        assert server.ask(method, path, headers={"Authorization": header})[0] == 401


def test_an_address_that_is_no_route_asks_for_an_account_too(server: Server) -> None:
    for path in ("/nothing", "/api/2.0/mlflow/nothing", "/version", "/signup", "//api/2.0/mlflow/experiments/get"):
        assert server.ask("GET", path)[0] == 401


@pytest.mark.parametrize("word", CLOSED)
@pytest.mark.parametrize("account", ["", "reader", "taxiway", "admin"])
def test_what_the_stack_does_not_offer_is_closed_to_everybody(
    server: Server, routes: list[Route], word: str, account: str
) -> None:
    closed = [route for route in routes if route.closed and word in route.template]
    assert closed, f"MLflow has no route with {word} in it any more"
    answers = {(route, server.ask(route.method, route.path, account, {})) for route in closed}
    assert [(route, answer) for route, answer in answers if answer[0] != 404 or "does not offer" not in answer[1]] == []


def test_no_process_runs_jobs(stack: Stack) -> None:
    running = stack.exec("mlflow_server", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
    assert "taxiway_mlflow.app:create_app" in running
    assert not re.search(r"huey|job_runner|periodic_tasks|_executor", running)


def test_no_secret_is_in_an_environment_or_on_a_command_line_of_the_server(stack: Stack) -> None:
    seen = stack.exec(
        "mlflow_server", "sh", "-c", "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n'"
    ).stdout
    assert "MLFLOW_AUTH_CONFIG_PATH" in seen
    words = {line.rpartition("=")[2] for file in stack.secrets.iterdir() for line in file.read_text("utf-8").split()}
    assert [word for word in words if len(word) > 12 and word in seen] == []


@pytest.mark.parametrize("account", ["reader", "taxiway", "admin"])
def test_the_gateways_proxy_has_nowhere_to_go(server: Server, account: str) -> None:
    """MLflow's pages ask it for endpoints, so it is open."""
    path = "/ajax-api/2.0/mlflow/gateway-proxy"
    asked = "?gateway_path=http%3A%2F%2Fdb%3A5432%2Fapi%2F2.0%2Fendpoints%2F"
    status, said = server.ask("GET", path + asked, account)
    assert (status, json.loads(said)) == (200, {"endpoints": []})
    status, said = server.ask("POST", path, account, {"gateway_path": "http://db:5432/", "json_data": {}})
    if account == "reader":
        assert status == 403
    else:
        assert (status, json.loads(said)) == (200, {"endpoints": []})


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_foreign_host_is_refused(server: Server, host: str) -> None:
    for path in ("/", f"{API}/experiments/search?max_results=1", "/graphql", f"{ARTIFACTS}?path=1"):
        status, text = server.ask("GET", path, "admin", headers={"Host": host})
        assert (status, "Invalid Host header" in text) == (403, True), path


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
@pytest.mark.parametrize("prefix", ["/api/2.0", "/ajax-api/2.0"])
def test_a_page_of_another_origin_cannot_post(server: Server, origin: str, prefix: str) -> None:
    name = f"doors-{uuid.uuid4().hex}"
    headers = {"Origin": origin}
    for content in ("application/json", "text/plain"):
        headers["Content-Type"] = content
        assert server.ask("POST", f"{prefix}/mlflow/experiments/create", "admin", {"name": name}, headers)[0] == 403
    assert server.ask("POST", "/graphql", "admin", {"query": "{ __typename }"}, headers)[0] == 403
    assert server.ask("GET", f"{API}/experiments/get-by-name?experiment_name={name}", "admin")[0] == 404


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("times", [0, 1, 2])
def test_an_artifact_path_does_not_leave_the_store(server: Server, trial: Trial, path: str, times: int) -> None:
    """Each path as it is, encoded, and encoded twice."""
    for _ in range(times):
        path = quote(path, safe="").replace(".", "%2e") if "%" not in path else quote(path, safe="")
    asked = [
        ("GET", f"{ARTIFACTS}/{path}"),
        ("GET", f"{ARTIFACTS}?path={path}"),
        ("PUT", f"{ARTIFACTS}/{path}"),
        ("DELETE", f"{ARTIFACTS}/{path}"),
        ("GET", f"/get-artifact?run_id={trial.run}&path={path}"),
        ("GET", f"{API}/artifacts/list?run_id={trial.run}&path={path}"),
        ("GET", f"/model-versions/get-artifact?name={trial.model}&version=1&path={path}"),
        ("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={trial.run}&path={path}"),
    ]
    for method, address in asked:
        status, text = server.ask(method, address, "admin", b"x" if method in ("PUT", "POST") else b"")
        # 308: Flask takes two slashes for one; what is meant then lies in the store.
        assert 400 <= status < 500 or status == 308, f"{method} {address}: {status} {text[:300]}"
        assert "root:" not in text
    assert server.done("GET", f"{ARTIFACTS}/{trial.artifact}") == "hello"


@pytest.mark.parametrize("place", [*OTHER_PLACES, "runs:/{run}/../../x", "models://db/1"])
def test_a_version_is_not_made_of_another_place(server: Server, trial: Trial, place: str) -> None:
    source = place.format(run=trial.run)
    body = {"name": trial.model, "source": source, "run_id": trial.run}
    status, text = server.ask("POST", f"{API}/model-versions/create", "taxiway", body)
    assert status in (400, 403), text
    found = server.done("GET", f"{API}/model-versions/search?filter=" + quote(f"name='{trial.model}'"))
    assert [version["version"] for version in found["model_versions"]] == ["1"]


@pytest.mark.parametrize("place", OTHER_PLACES)
@pytest.mark.parametrize("field", ["artifact_location", "artifactLocation"])
def test_an_experiment_does_not_keep_its_artifacts_in_another_place(server: Server, place: str, field: str) -> None:
    name = f"doors-{uuid.uuid4().hex}"
    assert server.ask("POST", f"{API}/experiments/create", "admin", {"name": name, field: place})[0] == 400
    assert server.ask("GET", f"{API}/experiments/get-by-name?experiment_name={name}", "admin")[0] == 404


def test_the_server_can_read_its_own_store_and_no_other(itself: dict[str, Any]) -> None:
    """Whatever is written in its database: it has forgotten how to read files, S3 addresses and the rest."""
    assert itself["schemes"] == ["mlflow-artifacts", "models", "proxied-s3", "runs"]


def test_no_address_of_s3_is_handed_out(server: Server, trial: Trial) -> None:
    assert server.ask("GET", f"/api/2.0/mlflow-artifacts/presigned/{trial.artifact}", "taxiway")[0] == 501
    part = {"path": "big.bin", "num_parts": 2}
    assert server.ask("POST", f"/api/2.0/mlflow-artifacts/mpu/create/{trial.artifact}", "taxiway", part)[0] == 501
    for direction in ("upload", "download"):
        body = {"run_id": trial.run, "path": "notes/hello.txt"}
        assert server.ask("POST", f"{API}/artifacts/presigned-{direction}-url", "taxiway", body)[0] == 400


def test_what_is_no_file_is_not_found(server: Server, trial: Trial) -> None:
    for path in (trial.artifact.rpartition("/")[0], trial.experiment, f"{trial.artifact}.gone"):
        assert server.ask("GET", f"{ARTIFACTS}/{path}", "taxiway")[0] == 404


def test_a_reader_reads_everything(server: Server, trial: Trial) -> None:
    experiment = {"experiment_ids": [trial.experiment]}
    assert server.done("POST", f"{API}/runs/search", "reader", experiment)["runs"][0]["info"]["run_id"] == trial.run
    everything = server.done("POST", f"{API}/experiments/search", "reader", {"max_results": 1000})["experiments"]
    assert trial.experiment in {found["experiment_id"] for found in everything}
    server.done("POST", f"{API}/logged-models/search", "reader", experiment)
    server.done("GET", f"{API}/registered-models/get?name={trial.model}", "reader")
    listed = server.done("GET", f"{API}/artifacts/list?run_id={trial.run}&path=notes", "reader")
    assert [file["path"] for file in listed["files"]] == ["notes/hello.txt"]
    assert server.done("GET", f"{ARTIFACTS}/{trial.artifact}", "reader") == "hello"
    assert server.done("GET", f"/get-artifact?run_id={trial.run}&path=notes/hello.txt", "reader") == "hello"
    version = f"/model-versions/get-artifact?name={trial.model}&version=1&path=hello.txt"
    assert server.done("GET", version, "reader") == "hello"
    query = f'{{ mlflowGetRun(input: {{runId: "{trial.run}"}}) {{ run {{ info {{ runId }} }} }} }}'
    answer = server.done("POST", "/graphql", "reader", {"query": query})
    assert answer["data"]["mlflowGetRun"]["run"]["info"]["runId"] == trial.run
    assert "<title>MLflow</title>" in server.done("GET", "/", "reader")


def test_a_reader_changes_nothing_on_any_route(server: Server, routes: list[Route], trial: Trial) -> None:
    writing = [route for route in routes if route.method != "GET" and not (route.closed or route.question)]
    assert len(writing) > 100
    answers = {route: server.ask(route.method, route.path, "reader", {}) for route in writing}
    wrong = {route: answer for route, answer in answers.items() if answer[0] != 403 or "not change" not in answer[1]}
    assert wrong == {}
    assert server.ask("PUT", f"{ARTIFACTS}/{trial.artifact}", "reader", b"other")[0] == 403
    assert server.ask("DELETE", f"{ARTIFACTS}/{trial.artifact}", "reader")[0] == 403
    assert server.done("GET", f"{ARTIFACTS}/{trial.artifact}", "reader") == "hello"


def test_nothing_is_a_question_that_we_took_for_one_and_is_gone(routes: list[Route]) -> None:
    asked = {re.sub(r"^/(ajax-)?api/\d\.\d/?", "", route.template) for route in routes if route.method == "POST"}
    assert asked >= QUESTIONS


def test_the_writer_changes_and_deletes_what_the_admin_made(server: Server, trial: Trial) -> None:
    tag = {"experiment_id": trial.experiment, "key": "seen", "value": "yes"}
    server.done("POST", f"{API}/experiments/set-experiment-tag", "taxiway", tag)
    path = f"{trial.experiment}/{trial.run}/artifacts/passing/by.txt"
    server.done("PUT", f"{ARTIFACTS}/{path}", "taxiway", b"x")
    server.done("DELETE", f"{ARTIFACTS}/{path}", "taxiway")
    assert server.ask("GET", f"{ARTIFACTS}/{path}", "taxiway")[0] == 404


def test_accounts_are_the_admins_alone(server: Server) -> None:
    for account in ("reader", "taxiway"):
        made = {"username": "intruder", "password": "a-long-password"}
        assert server.ask("POST", f"{API}/users/create", account, made)[0] == 403
        promoted = {"username": account, "is_admin": True}
        assert server.ask("PATCH", f"{API}/users/update-admin", account, promoted)[0] == 403
    assert server.ask("GET", f"{API}/users/get?username=intruder", "admin")[0] == 404


def test_the_stores_answer(server: Server) -> None:
    assert server.ask("GET", "/health/stores") == (200, "OK\n")
