"""``taxiway stack`` on the running stack: up, status, logs, passwords, upgrade, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from containers import ACCOUNTS, PORTS, ROOT, SERVICES, Completed, Stack, await_condition, docker, run
from object_stores import free_ports

from taxiway.errors import MachineError
from taxiway.settings import load_settings
from taxiway.stack.faults import explain_daemon
from taxiway.stack.passwords import SECRETS
from taxiway.store import connect


@pytest.fixture
def logged(stack: Stack) -> Iterator[str]:
    """A run with an artifact, made before a test and whole after it."""
    text = uuid4().hex
    experiment = stack.mlflow("experiments/create", "taxiway", name=f"lifecycle-{text}")["experiment_id"]
    info = stack.mlflow("runs/create", "taxiway", experiment_id=experiment)["run"]["info"]
    place = info["artifact_uri"].removeprefix("mlflow-artifacts:/").lstrip("/")
    address = f"{stack.mlflow_url}/api/2.0/mlflow-artifacts/artifacts/{place}/kept.txt"
    requests.put(address, data=text, auth=who(stack, "taxiway"), timeout=60).raise_for_status()
    yield text
    kept = requests.get(address, auth=who(stack, "reader"), timeout=60)
    assert (kept.status_code, kept.text) == (200, text)
    assert stack.mlflow(f"runs/get?run_id={info['run_id']}", "reader")["run"]["info"]["run_id"] == info["run_id"]


def who(stack: Stack, account: str) -> tuple[str, str]:
    return account, stack.accounts[account]


def said(done: Completed, code: int = 0) -> str:
    """What a command wrote to standard output, or the one line of its error."""
    assert done.returncode == code, done.stderr[-4000:]
    if code:
        assert done.stderr.rstrip("\n").rpartition("\n")[2].startswith("taxiway: ")
        return done.stderr.rstrip("\n").rpartition("\n")[2]
    return done.stdout


def status(stack: Stack, code: int = 0) -> dict[str, dict[str, object]]:
    done = stack.taxiway("stack", "status", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return {row["service"]: row for row in json.loads(done.stdout)["services"]}


def secret_values(stack: Stack) -> dict[str, str]:
    return {name: stack.secret(name) for name in SECRETS}


def test_up_on_a_healthy_stack_changes_nothing_and_says_where_everything_is(stack: Stack) -> None:
    before = {service: stack.container(service) for service in SERVICES}
    started = json.loads(said(stack.taxiway("stack", "up", "--json", timeout=600)))
    assert {service: stack.container(service) for service in SERVICES} == before
    assert started["mlflow"] == stack.mlflow_url
    assert set(started["accounts"]) == set(ACCOUNTS)
    assert "jupyter-config-data" in requests.get(started["jupyterlab"], timeout=30).text


def test_status_has_health_version_data_and_memory(stack: Stack) -> None:
    rows = status(stack)
    assert {name: row["state"] for name, row in rows.items()} == {
        **dict.fromkeys(SERVICES, "healthy"),
        "create_s3_buckets": "done",
    }
    for service in SERVICES:
        assert rows[service]["version"], service
        assert rows[service]["image"] == stack.inspect(service)["Config"]["Image"]
        assert int(str(rows[service]["memory_bytes"])) > 1_000_000
        assert rows[service]["data_bytes"] is not None
    assert int(str(rows["db"]["data_bytes"])) > 1_000_000
    assert all(service in said(stack.taxiway("stack", "status")) for service in SERVICES)


def test_a_service_that_is_not_well_is_told_with_its_reason_and_up_mends_it(stack: Stack, logged: str) -> None:
    docker("stop", stack.container("s3"))
    await_condition(
        lambda: status(stack, 5)["mlflow_server"]["state"] == "failing", "MLflow's health check notices", within=90
    )
    rows = status(stack, 5)
    assert rows["s3"]["state"] == "stopped"
    assert rows["mlflow_server"]["detail"]
    said(stack.taxiway("stack", "up", timeout=600))
    assert status(stack)["s3"]["state"] == "healthy"


def test_logs_are_those_of_the_service(stack: Stack) -> None:
    lines = said(stack.taxiway("stack", "logs", "db", "--tail", "5")).splitlines()
    assert 0 < len(lines) <= 5
    assert all("db" in line.partition("|")[0] for line in lines)
    assert "no service 'bd'. Did you mean 'db'?" in said(stack.taxiway("stack", "logs", "bd"), code=2)


def test_logs_that_are_followed_end_with_ctrl_c(stack: Stack) -> None:
    environment = {**stack.environment, "TAXIWAY_STACK": str(ROOT), "TAXIWAY_HOME": str(stack.home)}
    command = [stack.taxiway_command, "stack", "logs", "mlflow_server", "--follow", "--tail", "1"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, b"")


def test_the_profile_makes_commands_work_on_the_stack(stack: Stack) -> None:
    assert json.loads(said(stack.taxiway("models", "--json"))) is not None
    found = {row["name"]: row for row in json.loads(stack.taxiway("doctor", "--json").stdout)}
    assert found["tracking"]["ok"]
    assert stack.mlflow_url in found["tracking"]["detail"]


def test_the_password_is_lent_to_mlflow_for_the_stack_alone(stack: Stack, tmp_path: Path) -> None:
    environment = {**stack.environment, "TAXIWAY_STACK": str(ROOT)}
    connect(load_settings({"profile": "stack", "home": tmp_path}, environment, tmp_path))
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == stack.accounts["taxiway"]
    connect(load_settings({"home": tmp_path}, {}, tmp_path))
    assert "MLFLOW_TRACKING_PASSWORD" not in os.environ
    assert "MLFLOW_TRACKING_USERNAME" not in os.environ


def test_all_passwords_and_keys_can_be_changed(stack: Stack, logged: str) -> None:
    before = secret_values(stack)
    rotated = json.loads(said(stack.taxiway("stack", "passwords", "--rotate", "--json", timeout=600)))
    assert {row["name"] for row in rotated} == set(SECRETS)
    check_rotated(stack, before)


def test_one_secret_can_be_changed_and_only_its_services_are_started_anew(stack: Stack) -> None:
    before, token = {service: stack.inspect(service)["State"]["StartedAt"] for service in SERVICES}, stack.token
    said(stack.taxiway("stack", "passwords", "--rotate", "jupyter_token", timeout=600))
    assert stack.token != token
    after = {service: stack.inspect(service)["State"]["StartedAt"] for service in SERVICES}
    assert {service for service in SERVICES if after[service] != before[service]} == {"jupyterlab_spark"}
    for value, code in ((token, 403), (stack.token, 200)):
        answer = requests.get(f"{stack.jupyter_url}/api/contents", params={"token": value}, timeout=30)
        assert answer.status_code == code


@pytest.mark.parametrize("moment", ["new values wait", "some are in place"])
def test_a_rotation_that_is_killed_goes_on(stack: Stack, logged: str, moment: str) -> None:
    before = secret_values(stack)
    environment = {**stack.environment, "TAXIWAY_STACK": str(ROOT), "TAXIWAY_HOME": str(stack.home)}
    process = subprocess.Popen(
        [stack.taxiway_command, "stack", "passwords", "--rotate"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def reached() -> bool:
        waiting = len(list(stack.secrets.glob("*.new")))
        changed = sum(stack.secret(name) != before[name] for name in before)
        return waiting == len(SECRETS) if moment == "new values wait" else changed > 0

    await_condition(reached, moment, within=120)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    said(stack.taxiway("stack", "up", timeout=600))
    stack.wait_healthy()
    check_rotated(stack, before)


def check_rotated(stack: Stack, before: dict[str, str]) -> None:
    """Everything is new, what was before opens nothing, and nothing is left half done."""
    assert [name for name, value in secret_values(stack).items() if value == before[name]] == []
    assert {file.name for file in stack.secrets.iterdir()} == {*SECRETS, "stack.env"}
    for account in ACCOUNTS:
        url = f"{stack.mlflow_url}/api/2.0/mlflow/experiments/search?max_results=1"
        old, new = before[f"mlflow_{account}_password"], stack.accounts[account]
        assert requests.get(url, auth=(account, old), timeout=30).status_code == 401
        assert requests.get(url, auth=(account, new), timeout=30).status_code == 200
    for role, name in (("postgres", "db_password"), ("mlflow", "db_mlflow_password")):
        assert not signs_in(stack, role, before[name])
        assert signs_in(stack, role, stack.secret(name))


def signs_in(stack: Stack, role: str, password: str) -> bool:
    script = f'read -r PGPASSWORD; export PGPASSWORD; psql -h 127.0.0.1 -U {role} -d mlflow -c "SELECT 1"'
    return stack.exec("db", "sh", "-c", script, input=f"{password}\n", check=False).returncode == 0


def test_an_upgrade_keeps_everything_and_takes_a_backup_first(stack: Stack, logged: str) -> None:
    shown = said(stack.taxiway("stack", "upgrade", timeout=900))
    assert "MLflow       3." in shown
    stack.wait_healthy()
    (file,) = (stack.home / "backups").iterdir()
    assert str(file) in shown
    assert "is whole" in said(stack.taxiway("stack", "restore", str(file), "--check"))
    file.unlink()


def test_down_and_up_lose_nothing(stack: Stack, logged: str) -> None:
    shown = said(stack.taxiway("stack", "down"))
    assert all(service in shown for service in SERVICES)
    assert {row["state"] for row in status(stack, 5).values()} == {"stopped", "done"}
    assert said(stack.taxiway("stack", "down")) == "No service was running.\n"
    said(stack.taxiway("stack", "up", timeout=600))
    stack.wait_healthy()


def test_another_s3_server_is_refused_while_there_are_models(stack: Stack) -> None:
    other = "minio" if stack.s3 == "seaweedfs" else "seaweedfs"
    line = said(stack.taxiway("stack", "up", "--s3", other), code=7)
    assert f"The models of this stack are on {stack.s3}" in line


@pytest.fixture
def second(stack: Stack, tmp_path: Path) -> Iterator[Stack]:
    """Another stack, of which nothing is started yet."""
    found = Stack(**{**vars(stack), "project": f"{stack.project}-second", "secrets": tmp_path / "secrets"})
    yield found
    found.shell("clear")


def test_a_port_that_is_taken_is_told_with_who_holds_it(stack: Stack, second: Stack) -> None:
    line = said(second.taxiway("stack", "up"), code=2)
    assert f"Port {stack.jupyter_port} is taken by the container {stack.project}" in line
    assert "STACK_JUPYTER_PORT" in line


def test_make_says_the_same_of_a_port_and_remembers_nothing_that_did_not_work(stack: Stack, second: Stack) -> None:
    free = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        for changes, line in (
            ({}, f"port {stack.jupyter_port} is taken by the container {stack.project}"),
            ({**free, "mlflow_port": taken}, f"port {taken} is taken by another program"),
            ({**free, "mlflow_port": "abc"}, "STACK_MLFLOW_PORT: 'abc' is not a port"),
            ({**free, "variables": {"STACK_JUPYTER_MEMORY": "lots"}}, "Compose does not take this choice: "),
        ):
            refused = replace(second, **{**changes, "variables": {**stack.variables, **changes.get("variables", {})}})
            done = refused.shell("start", check=False)
            assert done.returncode == 2, done.stderr
            assert done.stderr.startswith(f"stack: {line}")
            assert done.stderr.count("\n") == 1
    assert not second.secrets.exists()


def test_a_start_whose_volumes_are_gone_says_so(stack: Stack, second: Stack) -> None:
    own = replace(second, **dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    run("sh", "images/secrets.sh", str(own.secrets))
    (own.secrets / "stack.env").write_text(f"COMPOSE_PROJECT_NAME={own.project}\nSTACK_S3={stack.s3}\n")
    nothing = {"STACK_POSTGRES": "taxiway-test/nowhere:1"}
    line = f"has secrets of {own.project}, which has no volumes"
    assert line in own.taxiway("stack", "up", env=nothing, timeout=600).stderr
    assert line in replace(own, variables={**stack.variables, **nothing}).shell("start", check=False).stderr


def test_an_image_that_cannot_be_had_is_named(second: Stack) -> None:
    ports = {"STACK_JUPYTER_PORT": "1888", "STACK_MLFLOW_PORT": "1500", "STACK_MINIO_CONSOLE_PORT": "1901"}
    image = "taxiway-test/nowhere:1"
    done = second.taxiway("stack", "up", env={**ports, "STACK_POSTGRES": image}, timeout=600)
    assert f"The image {image} cannot be had" in said(done, code=5)


def test_clear_asks_and_removes_this_stack_alone(stack: Stack, second: Stack) -> None:
    run("sh", "images/secrets.sh", str(second.secrets))
    second.compose("up", "--detach", "db")
    label = "label=com.docker.compose.project={}"
    mine = docker("ps", "--quiet", "--filter", label.format(stack.project)).stdout
    assert "there is no terminal to ask on. Add --yes" in said(second.taxiway("stack", "clear"), code=7)
    (second.secrets / "mine.txt").write_text("not a secret of the stack")
    said(second.taxiway("stack", "clear", "--yes"))
    for kind in (("ps", "--all"), ("volume", "ls"), ("network", "ls")):
        assert docker(*kind, "--quiet", "--filter", label.format(second.project)).stdout == ""
    assert [file.name for file in second.secrets.iterdir()] == ["mine.txt"]
    assert docker("ps", "--quiet", "--filter", label.format(stack.project)).stdout == mine
    assert said(second.taxiway("stack", "clear", "--yes")) == "There is nothing to remove.\n"


def test_a_docker_that_does_not_answer_is_one_line(stack: Stack, tmp_path: Path) -> None:
    done = stack.taxiway("stack", "status", env={"DOCKER_HOST": f"unix://{tmp_path}/docker.sock"})
    assert "Docker does not answer" in said(done, code=6)


def test_a_socket_that_is_not_ours_is_one_line(docker_engine: None) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("becoming another user takes root and setpriv")
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    refused = run(*nobody, "docker", "version", env={**os.environ, "HOME": "/nonexistent"}, check=False)
    found = explain_daemon(refused.stderr)
    assert isinstance(found, MachineError)
    assert "does not let this user in" in str(found)


def test_a_docker_without_compose_is_one_line(stack: Stack, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "docker").symlink_to(str(shutil.which("docker")))
    hidden = {"DOCKER_CONFIG": str(tmp_path), "PATH": str(tools)}
    if run("docker", "compose", "version", env={**os.environ, **hidden}, check=False).returncode == 0:
        pytest.skip("Compose is a plugin of the whole machine here, and cannot be hidden")
    assert "Docker has no Compose" in said(stack.taxiway("stack", "status", env=hidden), code=6)
