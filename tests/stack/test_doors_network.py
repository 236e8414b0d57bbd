"""Doors between the services: who reaches whose ports, what each S3 key may do, and JupyterLab without its token."""

from __future__ import annotations

import base64
import http.client
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from containers import PYTHON, Stack, docker, inside

INNER_PORTS = {
    # Filer, master and volume server with their gRPC ports, WebDAV, and metrics.
    "seaweedfs": (8888, 18888, 9333, 19333, 8080, 18080, 7333, 9327),
    "minio": (9000,),
}


def reach(stack: Stack, service: str, *places: str) -> dict[str, str]:
    """Which of some addresses a service can open a connection to."""
    found: dict[str, str] = stack.python(service, "reach.py", *places)
    return found


def address(stack: Stack, service: str, network: str) -> str:
    found = stack.inspect(service)["NetworkSettings"]["Networks"]
    return str(found[f"{stack.project}_{network}"]["IPAddress"])


@pytest.mark.parametrize("service", ["db", "s3"])
def test_the_stores_publish_nothing_on_the_host(stack: Stack, service: str) -> None:
    bindings = stack.inspect(service)["HostConfig"]["PortBindings"] or {}
    assert set(bindings) == ({"9001/tcp"} if (service, stack.s3) == ("s3", "minio") else set())


def test_only_mlflow_reaches_the_database(stack: Stack) -> None:
    places = ("db:5432", f"{address(stack, 'db', 'back')}:5432")
    assert set(reach(stack, "mlflow_server", *places).values()) == {"open"}
    assert "open" not in reach(stack, "jupyterlab_spark", *places).values()


@pytest.mark.s3
def test_jupyterlab_reaches_s3_where_spark_does_and_mlflow_where_it_does(stack: Stack) -> None:
    assert reach(stack, "jupyterlab_spark", "s3:8333", "mlflow_server:5000") == {
        "s3:8333": "open",
        "mlflow_server:5000": "open",
    }
    assert "open" not in reach(stack, "jupyterlab_spark", f"{address(stack, 's3', 'back')}:8333").values()


@pytest.mark.s3
@pytest.mark.parametrize("service", ["mlflow_server", "jupyterlab_spark"])
def test_the_inner_ports_of_s3_are_shut(stack: Stack, service: str) -> None:
    places = [f"s3:{port}" for port in INNER_PORTS[stack.s3]]
    assert "open" not in reach(stack, service, *places).values()


@pytest.mark.s3
@pytest.mark.parametrize("order", ["PutIdentity", "RemoveIdentity", "PutPolicy"])
def test_seaweedfs_takes_no_orders_at_the_port_that_it_cannot_shut(stack: Stack, order: str) -> None:
    """Its gRPC port, 18333, is open wherever S3 is; unsigned orders must be refused (status 16)."""
    if stack.s3 != "seaweedfs":
        pytest.skip("MinIO has no such port")
    address = f"http://s3:18333/messaging_pb.SeaweedS3IamCache/{order}"
    # A message of no bytes, as gRPC frames it.
    script = (
        "printf '\\0\\0\\0\\0\\0' | curl --silent --include --max-time 10 --http2-prior-knowledge --data-binary @- "
    )
    script += f"--header 'content-type: application/grpc' --header 'te: trailers' {address}"
    assert "grpc-status: 16" in stack.exec("s3", "sh", "-c", script).stdout


@pytest.mark.parametrize("network", ["back", "data"])
def test_the_stores_networks_have_no_way_out(stack: Stack, network: str) -> None:
    assert docker("network", "inspect", "--format", "{{.Internal}}", f"{stack.project}_{network}").stdout == "true\n"


REFUSED = {401, 403}
HOLDERS = {"mlflow": ("mlflow_server", "trips"), "trips": ("jupyterlab_spark", "mlflow")}
"""Bucket: the service that holds its key, and the bucket that is none of its business."""


@pytest.fixture(scope="module", params=HOLDERS)
def outcomes(request: pytest.FixtureRequest, stack: Stack) -> dict[str, Any]:
    """What S3 answered to the service that holds a key, asked with that key and without."""
    service, other = HOLDERS[request.param]
    place = ("http://s3:8333", "us-east-1", request.param, other, f"/run/secrets/s3_{request.param}")
    found: dict[str, Any] = stack.python(service, "s3_doors.py", *place)
    return found


@pytest.mark.s3
def test_a_key_can_do_what_it_must(outcomes: dict[str, Any]) -> None:
    assert set(outcomes["own"].values()) == {"done"}


@pytest.mark.s3
@pytest.mark.parametrize("who", ["anonymous", "unknown key", "wrong secret", "other bucket"])
def test_s3_refuses_everybody_else(outcomes: dict[str, Any], who: str) -> None:
    assert set(outcomes[who].values()) <= REFUSED, outcomes[who]


@pytest.mark.s3
def test_s3_refuses_a_key_all_administration(outcomes: dict[str, Any]) -> None:
    found = outcomes["administration"]
    assert set(found.values()) <= REFUSED, found
    assert outcomes["buckets"] == []


@pytest.mark.s3
def test_s3_lets_a_key_make_no_other(stack: Stack, outcomes: dict[str, Any]) -> None:
    # MinIO does not know these calls; the next test has its own.
    refused = {400} if stack.s3 == "minio" else REFUSED
    assert set(outcomes["identities"].values()) <= refused, outcomes["identities"]


@pytest.mark.s3
def test_minios_console_lets_in_its_root_alone(stack: Stack) -> None:
    if stack.s3 != "minio":
        pytest.skip("SeaweedFS has no console")
    console = f"http://127.0.0.1:{stack.console_port}"
    assert "<html" in requests.get(console, timeout=30).text
    assert requests.get(f"{console}/api/v1/buckets", timeout=30).status_code == 403

    def sign_in(secret: str) -> requests.Response:
        keys = dict(line.split("=", 1) for line in stack.secret("s3_root").split() if "=" in line)
        document = {"accessKey": keys["aws_access_key_id"], "secretKey": secret or keys["aws_secret_access_key"]}
        return requests.post(f"{console}/api/v1/login", json=document, timeout=30)

    assert sign_in("f" * 40).status_code in REFUSED
    root = sign_in("")
    assert root.ok
    buckets = requests.get(f"{console}/api/v1/buckets", cookies=root.cookies, timeout=30).json()["buckets"]
    assert {bucket["name"] for bucket in buckets} == {"mlflow", "trips"}


@pytest.mark.s3
@pytest.mark.parametrize("tenant", HOLDERS)
def test_minio_lets_nobody_but_its_root_rule_it(stack: Stack, tenant: str) -> None:
    if stack.s3 != "minio":
        pytest.skip("SeaweedFS is ruled by the calls of the test before")
    words = ("run", "--rm", "-T", "--no-deps", "--entrypoint", PYTHON, "create_s3_buckets", "-")
    said = stack.compose(*words, f"/run/secrets/s3_{tenant}", input=inside("minio_doors.py")).stdout
    assert set(json.loads(said).values()) == {403}, said


@pytest.fixture
def kernel(stack: Stack) -> Iterator[str]:
    """The id of a running kernel, which only who has the token could start."""
    session = requests.Session()
    session.headers["Authorization"] = f"token {stack.token}"
    started = session.post(f"{stack.jupyter_url}/api/kernels", json={}, timeout=60)
    started.raise_for_status()
    yield started.json()["id"]
    session.delete(f"{stack.jupyter_url}/api/kernels/{started.json()['id']}", timeout=60)


@pytest.mark.parametrize("header", [{}, {"Authorization": "token wrong"}, {"Authorization": "token "}])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "api/contents"),
        ("GET", "api/contents/work"),
        ("PUT", "api/contents/work/door.txt"),
        ("DELETE", "api/contents/work/nyc_traffic_taxi_model.ipynb"),
        ("GET", "api/kernels"),
        ("POST", "api/kernels"),
        ("GET", "api/sessions"),
        ("POST", "api/sessions"),
        ("POST", "api/terminals"),
        ("GET", "api/config/notebook"),
        ("GET", "files/work/nyc_traffic_taxi_model.ipynb"),
        ("POST", "api/shutdown"),
    ],
)
def test_jupyterlab_refuses_whoever_lacks_the_token(
    stack: Stack, method: str, path: str, header: dict[str, str]
) -> None:
    answer = requests.request(
        method, f"{stack.jupyter_url}/{path}", headers=header, json={}, timeout=30, allow_redirects=False
    )
    # A page sends people to the login; everything else says no.
    assert answer.status_code == 403 or "/login" in answer.headers.get("Location", "")
    assert "nbformat" not in answer.text


def test_jupyterlab_refuses_a_page_of_another_site(stack: Stack) -> None:
    """A page that the user's browser shows may know the address, but must not start a kernel with it."""
    session = requests.Session()
    session.get(f"{stack.jupyter_url}/lab", params={"token": stack.token}, timeout=30).raise_for_status()
    foreign = {"Origin": "http://evil.example.com"}
    before = session.get(f"{stack.jupyter_url}/api/kernels", timeout=30).json()
    refused = session.post(f"{stack.jupyter_url}/api/kernels", json={}, headers=foreign, timeout=30)
    assert refused.status_code in (403, 404)
    after = session.get(f"{stack.jupyter_url}/api/kernels", timeout=30).json()
    assert [kernel["id"] for kernel in after] == [kernel["id"] for kernel in before]


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong"])
def test_a_kernels_websocket_is_shut_without_the_token(stack: Stack, kernel: str, query: str) -> None:
    assert handshake(stack, f"/api/kernels/{kernel}/channels{query}") == 403


def test_a_kernels_websocket_opens_with_the_token_and_to_its_own_pages_alone(stack: Stack, kernel: str) -> None:
    path = f"/api/kernels/{kernel}/channels?token={stack.token}"
    assert handshake(stack, path) == 101
    assert handshake(stack, path, origin=stack.jupyter_url) == 101


def handshake(stack: Stack, path: str, origin: str = "") -> int:
    """The status with which JupyterLab answers the request for a websocket."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.jupyter_port, timeout=30)
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **({"Origin": origin} if origin else {}),
    }
    connection.request("GET", path, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status
