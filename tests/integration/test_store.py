"""Opening the store: embedded, on a server, and everything that can stand in the way."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from sweeps import OWNER, make_sweep

from taxiway.cli.faults import translate
from taxiway.doctor import diagnose
from taxiway.errors import MachineError, Refused, TaxiwayError, Unreachable, UsageError
from taxiway.settings import Settings, load_settings
from taxiway.sqlite import users_of
from taxiway.store import (
    check_embedded_store,
    close_abandoned_runs,
    connect,
    experiment_id,
    registry_lock,
    server_version,
    training_lock,
)

HOLD = """
import sys
from taxiway.settings import load_settings
from taxiway.store import training_lock
with training_lock(load_settings({"home": sys.argv[1]})):
    print("held", flush=True)
    sys.stdin.read()
"""


LOCK = """
import sqlite3, sys
session = sqlite3.connect(sys.argv[1], isolation_level=None)
session.execute(f"BEGIN {sys.argv[2]}")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def locking(file: Path, how: str = "EXCLUSIVE") -> Iterator[subprocess.Popen[str]]:
    """Another program that has a SQLite file locked while the block runs."""
    command = [sys.executable, "-c", LOCK, str(file), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.kill()


def at(settings: Settings, uri: str) -> Settings:
    """The same home with another tracking address."""
    return load_settings({"home": settings.home, "tracking_uri": uri}, {}, settings.home.parent)


@contextmanager
def answering(statuses: dict[str, int]) -> Iterator[str]:
    """A server that knows a few paths and their status, and answers 404 to the rest."""

    class Answer(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            body = b"{}"
            self.send_response(statuses.get(self.path.partition("?")[0], 404))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def silent() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield listener.getsockname()[1]


def timed(action: Callable[[], object], kind: type[TaxiwayError]) -> tuple[TaxiwayError, float]:
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        action()
    return caught.value, time.monotonic() - began


def test_two_make_the_embedded_store_at_once_whatever_a_killed_one_left(settings: Settings) -> None:
    assert not check_embedded_store(settings)
    settings.home.mkdir()
    (settings.home / "mlflow.db.partial").write_bytes(b"half")
    (settings.home / "mlflow.db.partial-journal").write_bytes(b"half")
    with ThreadPoolExecutor(2) as pool:
        clients = list(pool.map(connect, [settings, settings]))
    assert check_embedded_store(settings)
    assert not list(settings.home.glob("*.partial*"))
    places = [client.get_experiment("0").artifact_location for client in clients]
    assert places == [(settings.home / "artifacts" / "0").as_uri()] * 2


def test_nothing_is_printed_and_no_variable_of_the_user_is_overruled(settings: Settings) -> None:
    code = "import sys; from taxiway.store import connect; from taxiway.settings import load_settings; import os\n"
    code += "connect(load_settings({'home': sys.argv[1]})); print(os.environ['MLFLOW_HTTP_REQUEST_TIMEOUT'])"
    environment = {**os.environ, "MLFLOW_HTTP_REQUEST_TIMEOUT": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(settings.home)], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("7\n", "")


def test_a_store_that_was_opened_is_not_taken_for_the_users_wish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for home in (tmp_path / "one", tmp_path / "other"):
        found = load_settings({"home": home})
        assert found.tracking_uri == f"sqlite:///{home}/mlflow.db"
        connect(found)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/own.db")
    connect(load_settings({"home": tmp_path / "one", "tracking_uri": f"sqlite:///{tmp_path}/one/mlflow.db"}))
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/own.db"


def test_a_file_that_is_no_database(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "mlflow.db").write_text("these are not the tables you are looking for")
    error, seconds = timed(lambda: connect(settings), MachineError)
    assert "not a usable SQLite file" in error.message
    assert seconds < 5


@pytest.mark.parametrize(
    ("revision", "words"),
    [("451aebb31d03", r"an older version of MLflow.*mlflow db upgrade"), ("ffffffffffff", r"a newer MLflow.*Upgrade")],
)
def test_a_store_of_another_version_of_mlflow(embedded: Settings, revision: str, words: str) -> None:
    file = embedded.home / "mlflow.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", [revision])
    for settings in (embedded, at(embedded, f"sqlite+pysqlite:///{file}")):
        with pytest.raises(MachineError, match=words):
            connect(settings)


def test_a_locked_file_is_waited_for(embedded: Settings) -> None:
    with locking(embedded.home / "mlflow.db") as holder, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(connect, embedded)
        with pytest.raises(TimeoutError):
            waiting.result(1)
        holder.kill()
        assert waiting.result(30).search_experiments()


def test_who_has_the_file_locked_is_said(embedded: Settings) -> None:
    file = embedded.home / "mlflow.db"
    with locking(file) as holder:
        with pytest.raises(Refused, match=rf"mlflow\.db is locked .*process {holder.pid} \(python"):
            check_embedded_store(embedded, patience=0.1)
        tracking = next(finding for finding in diagnose(embedded) if finding.name == "tracking")
    assert f"process {holder.pid}" in tracking.detail
    assert "Move it away" not in tracking.next_step


def test_a_lock_in_the_middle_of_a_command(
    embedded: Settings, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # MLflow by itself would wait for 20 seconds: this is Taxiway's own bound, made short.
    monkeypatch.setattr("taxiway.sqlite.PATIENCE", 1.0)
    client = connect(embedded)
    file = embedded.home / "mlflow.db"
    with locking(file, "IMMEDIATE"):
        assert client.search_experiments()  # readers pass
        began = time.monotonic()
        with pytest.raises(MlflowException) as caught:
            client.create_registered_model("tip")
        assert time.monotonic() - began < 15
    found = translate(caught.value)
    assert type(found) is Refused
    assert f"{file} is locked by another program" in found.message
    assert "Traceback" not in capfd.readouterr().err


def test_a_change_of_the_registry_says_whom_it_waits_for(settings: Settings) -> None:
    code = HOLD.replace("training_lock", "registry_lock")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(settings.home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert users_of(settings.home / "locks" / "registry.lock").startswith(f"process {other.pid} (python")
        other.kill()


@pytest.mark.parametrize("uri", ["127.0.0.1:5000", "databricks", "./mlruns", "file:///srv/mlruns", "postgres://db/x"])
def test_addresses_of_no_kind_that_taxiway_supports(settings: Settings, uri: str) -> None:
    with pytest.raises(UsageError, match=r"Write|Name an MLflow server"):
        connect(at(settings, uri))
    assert not settings.home.exists()


def test_a_home_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = load_settings({"home": tmp_path / "file" / "home"}, {}, tmp_path)
    with pytest.raises(MachineError, match=r"cannot be written.*Set TAXIWAY_HOME"):
        connect(settings)
    with pytest.raises(MachineError, match="cannot be written"), training_lock(settings):
        pass


def test_a_server_says_its_version(server: Settings, embedded: Settings) -> None:
    assert server_version(server) == server_version(embedded)
    assert connect(server).search_experiments()


def test_nothing_listens(settings: Settings, port: int) -> None:
    error, seconds = timed(lambda: connect(at(settings, f"http://127.0.0.1:{port}")), Unreachable)
    assert "connection refused" in error.message
    assert seconds < 5


def test_a_server_that_never_answers(settings: Settings) -> None:
    with silent() as port:
        error, seconds = timed(lambda: connect(at(settings, f"http://127.0.0.1:{port}")), Unreachable)
    assert "does not answer within 4 seconds" in error.message
    assert seconds < 5


def test_a_host_that_nobody_knows(settings: Settings) -> None:
    error, seconds = timed(lambda: connect(at(settings, "http://no-such-host.invalid:5000")), Unreachable)
    assert "no-such-host.invalid" in error.message
    assert seconds < 5


def test_no_password_is_shown(settings: Settings, port: int) -> None:
    error, _ = timed(lambda: connect(at(settings, f"http://ana:s3cret@127.0.0.1:{port}")), Unreachable)
    assert "s3cret" not in str(error)


def test_an_address_that_is_none(settings: Settings) -> None:
    with pytest.raises(UsageError, match="not an address of a server"):
        connect(at(settings, "http://"))


def test_a_real_server_refuses_a_name_that_it_does_not_know(server_address: str, settings: Settings) -> None:
    elsewhere = server_address.replace("127.0.0.1", "localhost")
    with pytest.raises(Unreachable, match=r"does not know itself by that name.*--allowed-hosts"):
        connect(at(settings, elsewhere))


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        ({"/health": 200, "/api/2.0/mlflow/experiments/search": 401}, "asks who you are"),
        ({"/health": 401, "/api/2.0/mlflow/experiments/search": 401}, "asks who you are"),
        ({"/health": 200, "/api/2.0/mlflow/experiments/search": 403}, "does not let you in"),
        ({"/health": 200}, "is not an MLflow server"),
        ({"/health": 200, "/api/2.0/mlflow/experiments/search": 500}, "is not well"),
        ({"/health": 503}, "is not well"),
    ],
)
def test_servers_that_do_not_let_us_in(settings: Settings, statuses: dict[str, int], words: str) -> None:
    with answering(statuses) as address:
        error, seconds = timed(lambda: connect(at(settings, address)), Unreachable)
    assert words in error.message
    assert seconds < 5


def test_a_database_that_does_not_answer(settings: Settings, port: int) -> None:
    error, seconds = timed(lambda: connect(at(settings, f"postgresql://ana:s3cret@127.0.0.1:{port}/x")), Unreachable)
    assert "No database answers" in error.message
    assert "s3cret" not in str(error)
    assert seconds < 5


def test_a_database_whose_driver_is_not_installed(settings: Settings) -> None:
    with silent() as port, pytest.raises(UsageError, match="needs the package"):
        connect(at(settings, f"mysql+pymysql://ana@127.0.0.1:{port}/mlflow"))


def test_an_experiment_is_made_once_and_restored(store: Settings, recipe: str) -> None:
    client = connect(store)
    with ThreadPoolExecutor(2) as pool:
        made = set(pool.map(lambda _: experiment_id(client, store, recipe), range(2)))
    assert len(made) == 1
    client.delete_experiment(*made)
    assert experiment_id(client, store, recipe) in made
    assert client.get_experiment_by_name(recipe).lifecycle_stage == "active"


@pytest.mark.parametrize("name", ["a%b", "o'hare", "日本 語", "50%25?#", "x" * 256, ".."])
def test_artifacts_of_any_name_are_found_again(embedded: Settings, name: str) -> None:
    client = connect(embedded)
    run = client.create_run(experiment_id(client, embedded, name)).info.run_id
    client.log_text(run, "what was written", "a note.txt")
    assert Path(client.download_artifacts(run, "a note.txt", str(embedded.home))).read_text() == "what was written"
    inside = [path for path in (embedded.home / "artifacts").rglob("a note.txt") if run in path.parts]
    assert [path.relative_to(embedded.home / "artifacts").parts[1] for path in inside] == [run]


def test_artifacts_of_the_embedded_store_lie_under_the_home(embedded: Settings) -> None:
    client = connect(embedded)
    found = client.get_experiment(experiment_id(client, embedded, "tip"))
    assert found.artifact_location == (embedded.home / "artifacts" / "tip").as_uri()


def test_two_trainings_at_once(settings: Settings) -> None:
    command = [sys.executable, "-c", HOLD, str(settings.home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        error, seconds = timed(lambda: training_lock(settings).__enter__(), Refused)
        assert f"process {other.pid}, since" in error.message
        assert seconds < 1
        other.kill()
        other.wait()
    # What a killed training leaves behind hinders nobody.
    assert (settings.home / "locks" / "training.json").exists()
    with training_lock(settings):
        assert json.loads((settings.home / "locks" / "training.json").read_text())["pid"] == os.getpid()
        with pytest.raises(Refused, match=f"process {os.getpid()}"), training_lock(settings):
            pass
    assert not (settings.home / "locks" / "training.json").exists()


def test_a_change_of_the_registry_waits_for_another(settings: Settings) -> None:
    order = []

    def second() -> None:
        with registry_lock(settings):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with registry_lock(settings):
            waiting = pool.submit(second)
            order.append("first")
        waiting.result(30)
    assert order == ["first", "second"]


def test_runs_of_dead_processes_are_closed(embedded: Settings, recipe: str) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    client = connect(embedded)
    experiment = experiment_id(client, embedded, recipe)
    finished = make_sweep(embedded, recipe, {"0.1": 0.6}, with_model=False)

    def running(**tags: str) -> str:
        named = {f"taxiway.{key}": value for key, value in tags.items()}
        return str(client.create_run(experiment, tags={**OWNER, **named}).info.run_id)

    mine, elsewhere, dead = running(), running(host="another", pid=str(gone.pid)), running(pid=str(gone.pid))
    foreign = client.create_run(experiment).info.run_id
    assert close_abandoned_runs(client, experiment) == (dead,)
    statuses = [client.get_run(run).info.status for run in (mine, elsewhere, foreign, dead, finished.best)]
    assert statuses == ["RUNNING", "RUNNING", "RUNNING", "KILLED", "FINISHED"]


def test_a_number_that_another_process_has_inherited(embedded: Settings, recipe: str) -> None:
    client = connect(embedded)
    experiment = experiment_id(client, embedded, recipe)
    # A run that began before this process did was begun by another one of the same number.
    run = client.create_run(experiment, tags=OWNER, start_time=1_000_000_000_000)
    assert close_abandoned_runs(client, experiment) == (run.info.run_id,)
