"""Trips over HTTP from real servers on loopback, well-behaved and not."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxiway.errors import BadData, MachineError, NotFound, Unreachable, UsageError
from taxiway.settings import Settings, load_settings
from taxiway.trips.source import check_source, fetch

JANUARY = "green_tripdata_2023-01.parquet"
MARCH = "green_tripdata_2023-03.csv"
ROWS = 130_000
LONG = 60.0
"""Seconds after which something that a test waits for has failed; reached on no machine that works."""


def parquet(rows: int = ROWS, seed: int = 1) -> bytes:
    """A month that does not compress, so that a connection can be lost in the middle of it."""
    numbers = np.random.default_rng(seed)
    begin = np.datetime64("2023-01-05T08:30:00", "us")
    columns: dict[str, Any] = {
        "lpep_pickup_datetime": np.full(rows, begin),
        "lpep_dropoff_datetime": begin + (numbers.random(rows) * 1e9).astype("timedelta64[us]"),
        "passenger_count": np.ones(rows),
        "trip_distance": numbers.random(rows) * 10,
        "RatecodeID": np.ones(rows),
        "payment_type": np.ones(rows),
        "fare_amount": numbers.random(rows) * 50,
        "tip_amount": numbers.random(rows),
    }
    buffer = BytesIO()
    pq.write_table(pa.table(columns), buffer, use_dictionary=False)
    return buffer.getvalue()


CONTENT = parquet()


class Trips(ThreadingHTTPServer):
    """A server of files in memory, with the faults that a test asks for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files: dict[str, bytes] = {JANUARY: CONTENT}
        self.statuses: list[int] = []
        self.refusal = 404
        self.greeting = 200
        self.ranges = True
        self.validators = True
        self.tag = '"one"'
        self.drops: list[int] = []
        self.claims = 0
        self.hold_after: int | None = None
        self.release = threading.Event()
        self.held = threading.Event()
        self.asked: list[tuple[str, str, str]] = []
        self.sent = 0
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/trips"

    def gets(self, name: str = JANUARY) -> list[str]:
        """The ranges that were asked of a file, in order."""
        return [span for method, asked, span in self.asked if (method, asked) == ("GET", name)]


class Answer(BaseHTTPRequestHandler):
    """One request."""

    server: Trips
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        """Say nothing: requests are kept in `Trips.asked`."""

    def do_HEAD(self) -> None:
        self.server.asked.append(("HEAD", self.path, ""))
        self._head(self.server.greeting, 0)

    def do_GET(self) -> None:
        server, name = self.server, self.path.rpartition("/")[2]
        span = self.headers.get("Range", "")
        server.asked.append(("GET", name, span))
        if server.statuses:
            self._head(server.statuses.pop(0), 0)
            return
        content = server.files.get(name)
        if content is None:
            self._head(server.refusal, 0)
            return
        start = self._start(span)
        if start >= len(content) > 0:
            self._head(416, 0)
            return
        extra = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        self._head(206 if start else 200, max(server.claims, len(content) - start), extra)
        self._send(content[start:])

    def _start(self, span: str) -> int:
        same = self.headers.get("If-Range", self.server.tag) == self.server.tag
        return int(re.findall(r"\d+", span)[0]) if span and self.server.ranges and same else 0

    def _head(self, status: int, length: int, extra: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if self.server.validators:
            self.send_header("ETag", self.server.tag)
        for key, value in (extra or {}).items():
            self.send_header(key, value)
        self.end_headers()

    def _send(self, body: bytes) -> None:
        server = self.server
        with server.lock:
            cut = server.drops.pop(0) if server.drops else None
        body = body if cut is None else body[:cut]
        first = body if server.hold_after is None else body[: server.hold_after]
        self._write(first)
        if len(first) < len(body):
            server.held.set()
            server.release.wait(LONG)
            self._write(body[len(first) :])
        if cut is not None:
            self.close_connection = True

    def _write(self, data: bytes) -> None:
        try:
            self.wfile.write(data)
            self.wfile.flush()
        except ConnectionError:
            # The client was killed, which is what the test is about.
            self.close_connection = True
            return
        with self.server.lock:
            self.server.sent += len(data)


@pytest.fixture
def server() -> Iterator[Trips]:
    trips = Trips()
    thread = threading.Thread(target=trips.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield trips
    trips.release.set()
    trips.shutdown()
    thread.join()
    trips.server_close()


@pytest.fixture
def settings(server: Trips, tmp_path: Path) -> Settings:
    return settings_for(server.address, tmp_path)


def settings_for(source: str, tmp_path: Path) -> Settings:
    return load_settings({"home": tmp_path / "home", "trips_source": source}, {}, tmp_path)


def kept(settings: Settings, pattern: str = "*") -> list[Path]:
    return [path for path in (settings.home / "trips").rglob(pattern) if path.is_file() and path.suffix != ".lock"]


def part_of(settings: Settings) -> Path | None:
    return next(iter(kept(settings, "*.parquet.part")), None)


def await_condition(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not met():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        # The condition lies in another process and on disk, where nothing can be waited on.
        time.sleep(0.01)


def start_command(settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    taxiway = str(Path(sys.executable).with_name("taxiway"))
    command = [taxiway, "fetch", "green:2023-01", "--home", str(settings.home)]
    return subprocess.Popen(
        [*command, "--trips-source", settings.trips_source, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Watching:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.total = 0.0
        self.done = 0.0
        self.ended = 0
        self.notes: list[str] = []

    def begin(self, task: str, total: float | None = None, unit: str = "") -> None:
        assert unit == "B"
        self.total = total or 0.0

    def advance(self, task: str, by: float = 1) -> None:
        self.done += by

    def end(self, task: str) -> None:
        self.ended += 1

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_a_month_is_fetched_once(server: Trips, settings: Settings) -> None:
    watching = Watching()

    found = fetch("green:2023-01", settings, progress=watching)[0]

    assert Path(found.paths[0]).read_bytes() == CONTENT
    assert (found.rows, found.size, found.source) == (ROWS, len(CONTENT), server.address)
    assert (watching.total, watching.done, watching.ended) == (len(CONTENT), len(CONTENT), 1)
    asked = list(server.asked)
    assert fetch("green:2023-01", settings)[0] == found
    assert server.asked == asked
    assert [path.name for path in kept(settings)] == [JANUARY]


def test_the_digest_is_that_of_the_same_file_in_a_folder(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / JANUARY).write_bytes(CONTENT)

    remote, local = (fetch("green:2023-01", where)[0] for where in (settings, settings_for(str(tmp_path), tmp_path)))

    assert remote.digest == local.digest


def test_several_months_at_once_in_the_order_asked(server: Trips, settings: Settings) -> None:
    for month in range(2, 9):
        server.files[f"green_tripdata_2023-{month:02d}.parquet"] = parquet(100 * month, seed=month)

    found = fetch("green:2023-08,green:2023-02..2023-07,green:2023-03", settings, jobs=3)

    assert [item.rows for item in found] == [800, 200, 300, 400, 500, 600, 700]


def test_months_are_fetched_side_by_side(server: Trips, settings: Settings) -> None:
    """The first connection is held until the other month has come: one after the other would never end."""
    server.files["green_tripdata_2023-02.parquet"] = parquet(100, seed=2)
    server.hold_after = 10_000
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(fetch, "green:2023-01..2023-02", settings, jobs=2)
        await_condition(lambda: len(server.gets()) == len(server.gets("green_tripdata_2023-02.parquet")) == 1)
        server.release.set()

        assert len(fetching.result(LONG)) == 2


def test_csv_is_asked_for_where_parquet_is_missing(server: Trips, settings: Settings) -> None:
    names = "lpep_pickup_datetime,lpep_dropoff_datetime,passenger_count,trip_distance,RatecodeID,payment_type"
    lines = [f"{names},fare_amount,tip_amount", *["2023-03-01,2023-03-01,1,2.5,1,1,9,1"] * 3]
    server.files[MARCH] = "\n".join(lines).encode()

    found = fetch("green:2023-03", settings)[0]

    assert (found.format, found.rows) == ("csv", 3)


@pytest.mark.parametrize("drops", [1, 6])
def test_a_dropped_connection_is_taken_up_where_it_broke(server: Trips, settings: Settings, drops: int) -> None:
    # What lies in the client's buffers when the connection breaks is lost: less than 400 kB.
    server.drops = [600_000] * drops

    found = fetch("green:2023-01", settings)[0]

    assert Path(found.paths[0]).read_bytes() == CONTENT
    starts = [int(span.removeprefix("bytes=").rstrip("-")) for span in server.gets()[1:]]
    assert len(starts) == drops
    assert starts == sorted(set(starts))
    assert server.sent < len(CONTENT) + drops * 400_000


def test_a_server_without_ranges_starts_again(server: Trips, settings: Settings) -> None:
    server.ranges = False
    server.drops = [len(CONTENT) // 2]
    watching = Watching()

    found = fetch("green:2023-01", settings, progress=watching)[0]

    assert Path(found.paths[0]).read_bytes() == CONTENT
    assert watching.done == len(CONTENT)


def test_a_server_without_validators_is_not_trusted_with_a_range(server: Trips, settings: Settings) -> None:
    server.validators = False
    server.drops = [len(CONTENT) // 2]

    found = fetch("green:2023-01", settings)[0]

    assert Path(found.paths[0]).read_bytes() == CONTENT
    assert server.gets() == ["", ""]


def test_a_file_that_was_replaced_meanwhile_is_fetched_from_its_start(server: Trips, settings: Settings) -> None:
    server.drops = [len(CONTENT) // 2] + [0] * 9
    with pytest.raises(Unreachable, match=r"breaks off at green_tripdata_2023-01.parquet"):
        fetch("green:2023-01", settings)
    assert part_of(settings) is not None
    newer = parquet(seed=2)
    server.drops, server.tag, server.files[JANUARY] = [], '"two"', newer

    found = fetch("green:2023-01", settings)[0]

    assert Path(found.paths[0]).read_bytes() == newer


def test_a_part_longer_than_the_file_is_dropped(server: Trips, settings: Settings) -> None:
    server.drops = [len(CONTENT) // 2] + [0] * 9
    with pytest.raises(Unreachable):
        fetch("green:2023-01", settings)
    part = part_of(settings)
    assert part is not None
    part.write_bytes(bytes(len(CONTENT)))
    server.drops = []

    found = fetch("green:2023-01", settings)[0]

    assert Path(found.paths[0]).read_bytes() == CONTENT


def test_a_server_that_is_not_well_for_a_moment(server: Trips, settings: Settings) -> None:
    server.statuses = [503, 500]

    assert fetch("green:2023-01", settings)[0].rows == ROWS


@pytest.mark.parametrize("greeting", [403, 404, 405, 500, 501])
def test_a_server_may_refuse_to_say_anything_but_files(server: Trips, settings: Settings, greeting: int) -> None:
    server.greeting = greeting

    assert fetch("green:2023-01", settings)[0].rows == ROWS


@pytest.mark.parametrize("greeting", [401, 502, 503])
def test_a_server_that_is_not_well(server: Trips, settings: Settings, greeting: int) -> None:
    server.greeting = greeting

    with pytest.raises(Unreachable, match=f"HTTP {greeting}"):
        check_source(settings)


@pytest.mark.parametrize("refusal", [403, 404, 410])
def test_a_month_that_is_not_published(server: Trips, settings: Settings, refusal: int) -> None:
    server.refusal = refusal

    with pytest.raises(NotFound, match=r"green:2023-02 is not published at http://127.0.0.1"):
        fetch("green:2023-02", settings)

    assert kept(settings) == []


def test_a_server_that_asks_who_we_are(server: Trips, settings: Settings) -> None:
    server.refusal = 401

    with pytest.raises(Unreachable, match=r"refuses the request for .* \(HTTP 401\)"):
        fetch("green:2023-02", settings)


def test_months_that_cannot_exist_cost_no_request(server: Trips, settings: Settings) -> None:
    for month in ("green:9999-01", "green:2013-07"):
        with pytest.raises(NotFound):
            fetch(f"green:2023-01,{month}", settings)

    assert server.asked == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (CONTENT[:-1000], "cut off"),
        (b"<html>Come back later</html>" * 20, "not a Parquet file"),
        (b"", "empty"),
        (parquet(0), "no trips at all"),
    ],
)
def test_a_bad_file_is_named_and_leaves_nothing(server: Trips, settings: Settings, content: bytes, why: str) -> None:
    server.files[JANUARY] = content

    with pytest.raises(BadData, match=why) as caught:
        fetch("green:2023-01", settings)

    assert f"{server.address}/{JANUARY}" in caught.value.message
    assert caught.value.remedy
    assert kept(settings) == []


def test_a_copy_that_was_damaged_is_fetched_again(server: Trips, settings: Settings) -> None:
    path = Path(fetch("green:2023-01", settings)[0].paths[0])
    path.write_bytes(CONTENT[:-9])
    watching = Watching()

    fetch("green:2023-01", settings, progress=watching)

    assert path.read_bytes() == CONTENT
    assert "fetching it again" in watching.notes[0]


def test_nobody_answers(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        # Bound and not listening: connections are refused, and nobody else gets the port.
        settings = settings_for(f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path)
        for ask in (check_source, lambda where: fetch("green:2023-01", where)):
            with pytest.raises(Unreachable, match=r"does not answer \(connection refused\)"):
                ask(settings)

    with pytest.raises(Unreachable, match="does not answer"):
        check_source(settings_for("https://nobody.invalid/trips", tmp_path))


def test_a_silent_server_is_given_up_within_five_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = settings_for(f"http://127.0.0.1:{listener.getsockname()[1]}", tmp_path)
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"\(no answer in time\)"):
            fetch("green:2023-01", settings)
        assert time.monotonic() - began < 5

        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"\(no answer in time\)"):
            check_source(settings, timeout=1)
        assert time.monotonic() - began < 2


def test_the_command_ends_as_soon_as_the_source_is_given_up(tmp_path: Path) -> None:
    """Nothing that still waits for the silent server may hold up the end of the program."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = settings_for(f"http://127.0.0.1:{listener.getsockname()[1]}", tmp_path)
        began = time.monotonic()
        running = start_command(settings)
        _, said = running.communicate(timeout=LONG)

    assert running.returncode == 5
    assert "(no answer in time)" in said
    assert time.monotonic() - began < 10


def test_a_source_that_answers_is_said_to(server: Trips, settings: Settings) -> None:
    assert check_source(settings) == f"{server.address} answers"


@pytest.mark.parametrize("address", ["gopher://host/trips", "https:///trips", "s4://bucket"])
def test_addresses_that_nothing_can_read(address: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Trips cannot be read from"):
        check_source(settings_for(address, tmp_path))


def test_a_killed_fetch_goes_on_where_it_stopped(server: Trips, settings: Settings) -> None:
    server.hold_after = len(CONTENT) // 2
    running = start_command(settings)
    assert server.held.wait(LONG)
    await_condition(lambda: (part := part_of(settings)) is not None and part.stat().st_size >= len(CONTENT) // 4)
    running.kill()
    running.communicate(timeout=LONG)
    assert kept(settings, JANUARY) == []
    part = part_of(settings)
    assert part is not None
    had = part.stat().st_size
    server.hold_after = None
    server.release.set()

    found = fetch("green:2023-01", settings)[0]

    assert Path(found.paths[0]).read_bytes() == CONTENT
    assert server.gets() == ["", f"bytes={had}-"]
    assert [path.name for path in kept(settings)] == [JANUARY]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_fetch_ends_at_once(server: Trips, settings: Settings, sent: signal.Signals) -> None:
    server.hold_after = len(CONTENT) // 2
    running = start_command(settings)
    assert server.held.wait(LONG)
    began = time.monotonic()
    running.send_signal(sent)
    _, said = running.communicate(timeout=LONG)

    assert running.returncode == 130
    assert "Interrupted" in said
    assert "Traceback" not in said
    assert time.monotonic() - began < 6
    assert kept(settings, JANUARY) == []


def test_two_commands_at_once_fetch_a_month_once(server: Trips, settings: Settings) -> None:
    server.hold_after = len(CONTENT) // 2
    running = [start_command(settings, "--json") for _ in range(2)]
    # Both have asked whether the source answers, one has the lock and is held in the middle.
    await_condition(lambda: sum(method == "HEAD" for method, _, _ in server.asked) == 2)
    assert server.held.wait(LONG)
    server.release.set()
    answers = [process.communicate(timeout=LONG) for process in running]

    assert [process.returncode for process in running] == [0, 0], answers
    assert [json.loads(out)[0]["rows"] for out, _ in answers] == [ROWS, ROWS]
    assert len(server.gets()) == 1
    assert [path.name for path in kept(settings)] == [JANUARY]


def test_a_failure_stops_the_other_downloads(server: Trips, settings: Settings) -> None:
    server.hold_after = len(CONTENT) // 2
    began = time.monotonic()

    with pytest.raises(NotFound, match="green:2023-02"):
        fetch("green:2023-01..2023-02", settings, jobs=2)

    assert time.monotonic() - began < LONG / 2
    assert kept(settings, JANUARY) == []


def test_a_home_that_cannot_be_written(server: Trips, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file stands where the folder should be")

    with pytest.raises(MachineError, match=r"cannot be written"):
        fetch("green:2023-01", settings_for(server.address, tmp_path))

    assert server.gets() == []


def test_a_disk_with_too_little_space_is_seen_before(server: Trips, settings: Settings) -> None:
    server.claims = 10**18

    with pytest.raises(MachineError, match="The disk is full"):
        fetch("green:2023-01", settings)

    assert kept(settings) == []


def test_a_disk_that_fills_up_leaves_nothing(settings: Settings) -> None:
    """A limit on the length of files ends a write as a full disk does, for root and in any container."""
    program = (
        "import resource, sys; from taxiway.cli import main;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(CONTENT) // 2}, resource.RLIM_INFINITY)); main(sys.argv[1:])"
    )
    arguments = ["fetch", "green:2023-01", "--home", str(settings.home), "--trips-source", settings.trips_source]

    answer = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=LONG, env=dict(os.environ)
    )

    assert (answer.returncode, answer.stdout) == (6, "")
    assert "The disk is full" in answer.stderr
    assert kept(settings) == []
