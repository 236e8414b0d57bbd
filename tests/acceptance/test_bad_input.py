"""Whatever goes wrong, a user sees one line, a script sees a documented code, and nothing is half done."""

from __future__ import annotations

import http.server
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic

import pytest

from services import missing
from taxiway.settings import load_settings
from trip_files import green_trips, write_trips

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]

TRAIN = ("--train", "green:2023-01", "--holdout", "green:2023-02")
RECIPE = """
from taxiway.recipes import Estimator, Recipe

recipe = Recipe(
    name="mine",
    description="Will the rider tip?",
    task="classification",
    label="tip_amount > 0",
    features={"speed": "trip_distance / nullif(fare_amount, 0)"},
    numeric=("speed",),
    known_after=("tip_amount", "total_amount"),
    estimators=(Estimator("logistic_regression", sweep={"regParam": (0.1,)}),),
)
"""


@pytest.fixture(scope="session")
def whole_months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two whole months of green trips."""
    folder = tmp_path_factory.mktemp("trips")
    for seed, month in enumerate(("2023-01", "2023-02")):
        write_trips(folder, f"green:{month}", green_trips(800, month, seed))
    return folder


@pytest.fixture
def trips(whole_months: Path, tmp_path: Path) -> Path:
    """A copy of the two months, for a test to spoil."""
    return Path(shutil.copytree(whole_months, tmp_path / "trips"))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose store is made and empty: MLflow takes seconds to make one."""
    from taxiway.store import connect

    home = tmp_path_factory.mktemp("store")
    connect(load_settings({"home": home}, {}, home))
    return home


@pytest.fixture
def port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def assert_refused(done: Done, code: int, *words: str) -> None:
    """One line on standard error, the code, nothing on standard output."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("taxiway: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def assert_broken_off(done: Done, code: int, *words: str) -> None:
    """As `assert_refused`, after work had begun: progress stands before the line."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert [line for line in lines if line.startswith("taxiway: ")] == lines[-1:], done.stderr
    for sign in ("Traceback", "Exception in thread", "\tat "):
        assert sign not in done.stderr
    for word in words:
        assert word in lines[-1]


def assert_nothing_half_done(home: Path, *folders: Path) -> None:
    """No trips that could pass for whole, no run that is RUNNING, no model, no predictions."""
    kept = [path for path in (home / "trips").rglob("*") if path.suffix in (".parquet", ".csv")]
    assert kept == []
    assert runs_in(home, "RUNNING") == []
    if (home / "mlflow.db").exists():
        with closing(sqlite3.connect(home / "mlflow.db")) as database:
            assert database.execute("select count(*) from registered_models").fetchone() == (0,)
    for folder in folders:
        assert [path for path in folder.rglob("*") if path.is_file()] == []


def runs_in(home: Path, *states: str) -> list[str]:
    """Ids of the runs in the embedded store that are in one of these states."""
    if not (home / "mlflow.db").exists():
        return []
    with closing(sqlite3.connect(home / "mlflow.db", timeout=10)) as database:
        if not database.execute("select 1 from sqlite_master where name = 'runs'").fetchone():
            return []
        found = database.execute("select run_uuid, status from runs").fetchall()
    return [run for run, state in found if state in states]


# --- Months -----------------------------------------------------------------------------------------


MONTHS = [
    ("green:2013-07", 3, "2013-08"),
    ("yellow:2008-12", 3, "2009-01"),
    ("green:2023-07", 3, "green_tripdata_2023-07.parquet"),
    ("green:2999-01", 3, "lies in the future"),
    ("grene:2023-01", 2, "Did you mean 'green'?"),
    ("green:2023-01...2023-02", 2, "green:2023-01..2023-03"),
    ("green:2023-02..2023-01", 2, "ends before it starts"),
    ("green:2023-13", 2, "no calendar has"),
    ("2023-01", 2, "is not a month or a range of months"),
]


@pytest.mark.parametrize(("months", "code", "words"), MONTHS)
def test_fetch_refuses_months_that_are_not_published_or_cannot_be_read(
    months: str, code: int, words: str, run_taxiway: Run, trips: Path, tmp_path: Path
) -> None:
    assert_refused(run_taxiway("fetch", months, "--trips-source", trips), code, words)
    assert_nothing_half_done(tmp_path / "home")


@pytest.mark.parametrize(("months", "code", "words"), MONTHS[2:6])
@pytest.mark.parametrize("command", [("trips",), ("train", "tip", "--train", "green:2023-01", "--holdout")])
def test_other_commands_refuse_them_in_the_same_way(
    command: tuple[str, ...], months: str, code: int, words: str, run_taxiway: Run, trips: Path, tmp_path: Path
) -> None:
    assert_refused(run_taxiway(*command, months, "--trips-source", trips), code, words)
    assert_nothing_half_done(tmp_path / "home")


def test_a_holdout_that_overlaps_or_precedes_training_is_refused(run_taxiway: Run, trips: Path, tmp_path: Path) -> None:
    for train, holdout in (
        ("green:2023-01..2023-02", "green:2023-02"),
        ("green:2023-02", "green:2023-01"),
    ):
        done = run_taxiway("train", "tip", "--train", train, "--holdout", holdout, "--trips-source", trips)
        assert_refused(done, 7, "holdout")
    assert_nothing_half_done(tmp_path / "home")


# --- Sources ----------------------------------------------------------------------------------------


def test_a_source_that_does_not_answer_is_said_within_seconds(run_taxiway: Run, port: int, tmp_path: Path) -> None:
    began = monotonic()
    done = run_taxiway("fetch", "green:2023-01", "--trips-source", f"http://127.0.0.1:{port}/trips")
    # Five seconds of patience, and the start of Python on a busy machine.
    assert monotonic() - began < 15
    assert_broken_off(done, 5, f"127.0.0.1:{port}")
    assert_nothing_half_done(tmp_path / "home")


def test_a_tracking_server_that_does_not_answer_is_said_before_any_work(
    run_taxiway: Run, trips: Path, port: int, tmp_path: Path
) -> None:
    for arguments in (["models"], ["train", "tip", *TRAIN, "--trips-source", trips]):
        done = run_taxiway(*arguments, env={"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"})
        assert_refused(done, 5, f"127.0.0.1:{port}", "MLFLOW_TRACKING_URI")
    assert_nothing_half_done(tmp_path / "home")


def test_a_folder_of_trips_that_does_not_exist(run_taxiway: Run, tmp_path: Path) -> None:
    for arguments in (["fetch", "green:2023-01"], ["train", "tip", *TRAIN]):
        done = run_taxiway(*arguments, "--trips-source", tmp_path / "nowhere")
        assert_refused(done, 3, str(tmp_path / "nowhere"), "TAXIWAY_TRIPS_SOURCE")


# --- Files ------------------------------------------------------------------------------------------


def _cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-2000])


def _web_page(file: Path) -> None:
    file.write_text("<html><body>Service unavailable</body></html>")


def _empty_file(file: Path) -> None:
    file.write_bytes(b"")


def _no_rows(file: Path) -> None:
    write_trips(file.parent, "green:2023-02", {name: list(c)[:0] for name, c in green_trips(3, "2023-02", 1).items()})


def _misspelt_column(file: Path) -> None:
    columns = green_trips(50, "2023-02", 1)
    columns["fare_amnt"] = columns.pop("fare_amount")
    write_trips(file.parent, "green:2023-02", columns)


SPOILT = [
    (_cut_off, "cut off"),
    (_web_page, "not a Parquet file"),
    (_empty_file, "it is empty"),
    (_no_rows, "holds no trips at all"),
    (_misspelt_column, "lacks the columns fare_amount (closest: fare_amnt)"),
]


@pytest.mark.parametrize(("spoil", "words"), SPOILT)
@pytest.mark.parametrize("command", ["fetch", "train"])
def test_files_that_cannot_be_used_are_named(
    command: str, spoil: Callable[[Path], None], words: str, run_taxiway: Run, trips: Path, tmp_path: Path
) -> None:
    spoil(trips / "green_tripdata_2023-02.parquet")
    arguments = {"fetch": ["fetch", "green:2023-02"], "train": ["train", "tip", *TRAIN]}[command]
    done = run_taxiway(*arguments, "--trips-source", trips)
    assert_refused(done, 4, words, "2023-02")
    assert_nothing_half_done(tmp_path / "home")
    assert runs_in(tmp_path / "home", "FINISHED", "FAILED", "KILLED") == []


def test_a_holdout_with_one_class_only_cannot_judge(run_taxiway: Run, trips: Path, tmp_path: Path) -> None:
    columns = green_trips(300, "2023-02", 1)
    columns["tip_amount"] = [0.0] * 300
    write_trips(trips, "green:2023-02", columns)
    done = run_taxiway("train", "tip", *TRAIN, "--trips-source", trips, timeout=300)
    assert_broken_off(done, 4, "holdout", "same label")
    assert_nothing_half_done(tmp_path / "home")


# --- Recipes, runs, versions ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (RECIPE.replace("name=", "name"), "line 5"),
        (RECIPE.replace("fare_amount", "fare_amnt"), "Did you mean 'fare_amount'?"),
        (RECIPE.replace('numeric=("speed",)', 'numeric=("sped",)'), "Did you mean 'speed'?"),
        (RECIPE.replace("logistic_regression", "logistic_regresion"), "Did you mean 'logistic_regression'?"),
        (RECIPE.replace("trip_distance /", "tip_amount /"), "tip_amount"),
        (RECIPE.replace("recipe = Recipe", "Recipe"), "defines 0 recipes"),
        ("import nonsense_that_is_not_there\n", "line 1"),
    ],
)
def test_a_recipe_file_with_a_fault_is_named_with_the_fault(
    text: str, words: str, run_taxiway: Run, trips: Path, tmp_path: Path
) -> None:
    file = tmp_path / "my_recipe.py"
    file.write_text(text)
    done = run_taxiway("train", "--recipe", file, *TRAIN, "--trips-source", trips)
    assert_refused(done, 8, words)
    assert_nothing_half_done(tmp_path / "home")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "tpi", *TRAIN], 3, "Did you mean 'tip'?"),
        (["train", "--recipe", "nowhere.py", *TRAIN], 3, "nowhere.py"),
        (["recipes", "tpi"], 3, "Did you mean 'tip'?"),
        (["compare", "tip"], 3, "tip"),
        (["compare", "tip", "--run", "0" * 32], 3, "tip"),
        (["register", "tip"], 3, "tip"),
        (["register", "tip", "--run", "0" * 32], 3, "tip"),
        (["promote", "tip"], 3, "tip"),
        (["promote", "tip/7", "--to", "staging"], 3, "tip"),
        (["models", "tip"], 3, "tip"),
        (["delete", "tip/3", "--yes"], 3, "tip"),
        (["delete", "tip/three", "--yes"], 2, "tip/3"),
        (["score", "tip", "--months", "green:2023-01", "--out", "out"], 3, "tip"),
        (["score", "tip", "--months", "green", "--out", "out"], 2, "is not a month"),
        (["promote", "tip", "--to", "moon"], 2, "'moon'"),
        (["train", "tip", *TRAIN, "--trials", "0"], 2, "0 trials"),
        (["synth", "green:2023-01", "--rows", "many"], 2, "'many' is not a number of rows"),
        (["synth", "green:2023-01", "--rows", "0"], 2, "0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_does_not_exist_or_cannot_be_meant(
    arguments: list[str],
    code: int,
    words: str,
    run_taxiway: Run,
    empty_store: Path,
    whole_months: Path,
    tmp_path: Path,
) -> None:
    shutil.copytree(empty_store, tmp_path / "home")
    done = run_taxiway(*arguments, "--trips-source", whole_months)
    assert_refused(done, code, words)
    assert_nothing_half_done(tmp_path / "home", tmp_path / "work" / "out")


# --- The machine ------------------------------------------------------------------------------------


def test_a_home_that_cannot_be_a_folder(run_taxiway: Run, trips: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for arguments in (["train", "tip", *TRAIN], ["models"]):
        done = run_taxiway(*arguments, "--home", tmp_path / "file" / "home", "--trips-source", trips)
        assert_refused(done, 6, str(tmp_path / "file"))


def test_an_output_folder_that_cannot_be_a_folder(run_taxiway: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = run_taxiway("synth", "green:2023-01", "--out", tmp_path / "file" / "out")
    assert_refused(done, 6, str(tmp_path / "file"))


def in_private_machine(*before: str) -> list[str]:
    """A command prefix: Linux namespaces of its own, in which `before` changes what the machine has."""
    unshare = shutil.which("unshare")
    prefix = [unshare or "unshare", "--user", "--map-root-user", "--mount", "--net"]
    if unshare is None or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        missing("Linux namespaces for a user, to take the machine's disk, memory, Java and network away from a command")
    return [*prefix, "sh", "-ec", "\n".join([*before, 'exec "$@"']), "sh"]


@pytest.fixture
def run_without(taxiway_command: str, tmp_path: Path) -> Run:
    """Run the installed command on a machine that lacks something."""

    def run(arguments: list[str | Path], *before: str, **env: str) -> Done:
        environment = {name: value for name, value in os.environ.items() if name != "JAVA_HOME"}
        return subprocess.run(
            [*in_private_machine(*before), taxiway_command, *map(str, arguments)],
            cwd=tmp_path,
            env={**environment, "TAXIWAY_HOME": str(tmp_path / "home"), **env},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def _mount(folder: Path | str, options: str = "") -> str:
    return f"mkdir -p '{folder}' && mount -t tmpfs {f'-o {options}' if options else ''} tmpfs '{folder}'"


def test_a_folder_that_may_not_be_written(run_without: Run, trips: Path, tmp_path: Path) -> None:
    read_only = _mount(tmp_path / "closed", "ro")
    for arguments in (
        ["synth", "green:2023-01", "--out", tmp_path / "closed"],
        ["models", "--home", tmp_path / "closed" / "home"],
        ["train", "tip", *TRAIN, "--trips-source", trips, "--home", tmp_path / "closed" / "home"],
    ):
        done = run_without(arguments, read_only)
        assert_broken_off(done, 6, str(tmp_path / "closed"), "cannot be written")


def test_a_disk_that_fills_up_under_synthetic_trips(run_without: Run, tmp_path: Path) -> None:
    small = _mount(tmp_path / "small", "size=1m")
    listing = f'trap \'find "{tmp_path}/small" -type f >"{tmp_path}/left"\' EXIT; "$@"; exit $?'
    done = run_without(["synth", "green:2023-01", "--rows", "500k", "--out", tmp_path / "small"], small, listing)
    assert_broken_off(done, 6, "No space left on device")
    assert (tmp_path / "left").read_text() == "", "nothing is left behind on the full disk"


def test_a_disk_that_is_full_under_the_store(run_without: Run, trips: Path, tmp_path: Path) -> None:
    small = _mount(tmp_path / "home", "size=64k")
    done = run_without(["train", "tip", *TRAIN, "--trips-source", trips], small)
    assert_broken_off(done, 6, "full")


def test_no_java_and_no_network_to_install_one(run_without: Run, trips: Path, tmp_path: Path) -> None:
    # The folders in which `taxiway.java` looks, empty; and no programs but those of the coreutils.
    hidden = [_mount(folder) for folder in ("/usr/lib/jvm", tmp_path / "user")]
    bare = tmp_path / "bin"
    bare.mkdir()
    done = run_without(
        ["train", "tip", *TRAIN, "--trips-source", trips],
        *hidden,
        f"export PATH='{bare}' HOME='{tmp_path / 'user'}'",
    )
    assert_broken_off(done, 6, "Java 17", "JAVA_HOME")
    assert_nothing_half_done(tmp_path / "home")


def test_too_little_memory_for_spark(run_without: Run, trips: Path, tmp_path: Path) -> None:
    meminfo = Path("/proc/meminfo").read_text()
    lines = [
        f"{line.split()[0]} 800000 kB" if "Free" in line or "Avail" in line else line for line in meminfo.split("\n")
    ]
    (tmp_path / "meminfo").write_text("\n".join(lines))
    done = run_without(
        ["train", "tip", *TRAIN, "--trips-source", trips], f"mount --bind '{tmp_path / 'meminfo'}' /proc/meminfo"
    )
    assert_broken_off(done, 6, "0.8 GB of memory are free", "spark.driver.memory")
    assert_nothing_half_done(tmp_path / "home")


def test_a_driver_memory_that_spark_refuses(run_taxiway: Run, trips: Path, tmp_path: Path) -> None:
    done = run_taxiway("train", "tip", *TRAIN, "--trips-source", trips, "--spark", "spark.driver.memory=100m")
    assert_broken_off(done, 6, "memory")
    assert_nothing_half_done(tmp_path / "home")


# --- Interruptions and other processes --------------------------------------------------------------


@contextmanager
def started(command: str, *arguments: str | Path, home: Path) -> Iterator[subprocess.Popen[str]]:
    """The installed command, running."""
    process = subprocess.Popen(
        [command, *map(str, arguments)],
        env={**os.environ, "TAXIWAY_HOME": str(home)},
        cwd=home.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def interrupted(process: subprocess.Popen[str], how: int) -> Done:
    """Interrupt the whole process group, as a terminal does on Ctrl-C, or ask the command alone to end."""
    (os.killpg if how == signal.SIGINT else os.kill)(process.pid, how)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def await_condition(condition: Callable[[], object], process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Wait until something is so; fail when the command ends before, or it takes too long."""
    wake = threading.Event()
    end = monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert monotonic() < end
        wake.wait(0.05)


@pytest.fixture
def stalling_server() -> Iterator[tuple[str, threading.Event]]:
    """A web server that sends the first half of any file and then nothing; and whether it has."""
    sent, over = threading.Event(), threading.Event()

    class Stall(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2000000")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(b"PAR1" + b"\0" * 1_000_000)
            self.wfile.flush()
            sent.set()
            over.wait(60)

        def log_message(self, *_: object) -> None:
            """Say nothing: the test looks at the client."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stall)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", sent
    over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_fetch_leaves_no_file_that_passes_for_whole(
    how: int, stalling_server: tuple[str, threading.Event], taxiway_command: str, tmp_path: Path
) -> None:
    address, sent = stalling_server
    with started(
        taxiway_command, "fetch", "green:2023-01", "--trips-source", address, home=tmp_path / "home"
    ) as process:
        await_condition(sent.is_set, process)
        done = interrupted(process, how)
    assert_broken_off(done, 130, "Interrupted")
    assert_nothing_half_done(tmp_path / "home")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_leaves_no_run_running(
    how: int, whole_months: Path, taxiway_command: str, java_home: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    with started(taxiway_command, "train", "tip", *TRAIN, "--trips-source", whole_months, home=home) as process:
        await_condition(lambda: runs_in(home, "RUNNING"), process)
        done = interrupted(process, how)
    assert_broken_off(done, 130, "Interrupted")
    assert runs_in(home, "KILLED"), (runs_in(home, "RUNNING"), runs_in(home, "FAILED"))
    assert_nothing_half_done(home)


def test_a_second_training_on_the_same_home_is_refused_at_once(run_taxiway: Run, trips: Path, tmp_path: Path) -> None:
    holder = (
        "import sys\n"
        "from pathlib import Path\n"
        "from taxiway.settings import load_settings\n"
        "from taxiway.store import training_lock\n"
        "home = Path(sys.argv[1])\n"
        "with training_lock(load_settings({'home': home}, {}, home)):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    home = load_settings({"home": tmp_path / "home"}, {}, tmp_path).home
    home.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        done = run_taxiway("train", "tip", *TRAIN, "--trips-source", trips)
        other.communicate("")
    assert_refused(done, 7, str(other.pid))
    assert_nothing_half_done(home)


@pytest.mark.parametrize(
    ("toml", "env", "words"),
    [
        ("hom = 'x'\n", {}, "Did you mean 'home'?"),
        ("home = \n", {}, "cannot be read as TOML"),
        ("", {"TAXIWAY_TRIP_SOURCE": "x"}, "Did you mean 'TAXIWAY_TRIPS_SOURCE'?"),
        ("", {"TAXIWAY_SPARK": "master"}, "is not of the form spark.key=value"),
    ],
)
def test_settings_with_a_fault(toml: str, env: dict[str, str], words: str, run_taxiway: Run, tmp_path: Path) -> None:
    (tmp_path / "taxiway.toml").write_text(toml)
    for arguments in (["settings"], ["train", "tip", *TRAIN]):
        assert_refused(run_taxiway(*arguments, env=env, cwd=tmp_path), 2, words)
    assert not (tmp_path / "home").exists()
