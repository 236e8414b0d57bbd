"""A server that goes away for a while, or for good, and threads that wait for it."""

from __future__ import annotations

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from taxiway.errors import Unreachable
from taxiway.reach import Watch


def test_a_server_that_was_away_is_waited_for_once() -> None:
    answers = iter([503, 503])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(next(answers, 200))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            with Watch(f"http://127.0.0.1:{server.server_port}", between=0.05) as watch:
                while watch.away_since is None:
                    time.sleep(0.001)  # between two questions: a watch tells nobody by itself
                watch.await_server()
            assert watch.away_since is None
        finally:
            server.shutdown()


def test_a_server_that_stays_away_is_given_up_by_all_who_wait() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with Watch(uri, patience=0.3, between=0.05) as watch:
            while watch.away_since is None:
                time.sleep(0.01)  # between two questions: a watch tells nobody by itself
            began = time.monotonic()
            for _ in range(3):
                with pytest.raises(Unreachable, match="No MLflow server answers"):
                    watch.await_server()
            assert time.monotonic() - began < 0.6
