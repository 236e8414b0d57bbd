"""This machine's own servers are asked without the user's proxy."""

from __future__ import annotations

import os

import pytest
from requests.utils import should_bypass_proxies

from taxiway.proxies import spare_loopback, sparing_loopback

PROXY = {"HTTP_PROXY": "http://proxy:3128"}


@pytest.mark.parametrize(
    "environment", [{}, {"no_proxy": "example.org"}, {"http_proxy": ""}, {**PROXY, "no_proxy": "*"}]
)
def test_nothing_is_set_without_need(environment: dict[str, str]) -> None:
    assert sparing_loopback(environment) == {}


@pytest.mark.parametrize("proxy", ["http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"])
def test_loopback_is_added_to_what_the_user_says(proxy: str) -> None:
    found = sparing_loopback({proxy: "http://proxy:3128", "NO_PROXY": "example.org, 10.0.0.1"})
    assert found["no_proxy"] == found["NO_PROXY"] == "example.org,10.0.0.1,localhost,127.0.0.1,127.0.0.0/8,::1"
    # Once is enough, here and in a process that is started from here.
    assert sparing_loopback({proxy: "http://proxy:3128", **found}) == {}


def test_requests_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    spare_loopback()
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"]
    for host in ("localhost", "127.0.0.1", "127.0.0.2", "[::1]"):
        assert should_bypass_proxies(f"http://{host}:5000/health", None)
    assert not should_bypass_proxies("http://example.org/", None)
