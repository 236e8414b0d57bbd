"""This machine's own servers are asked directly, whatever proxy the user's shell names."""

from __future__ import annotations

import os
from collections.abc import Mapping

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
# Names and addresses, and the network of the latter for those who read such a thing.
_LOOPBACK = ("localhost", "127.0.0.1", "127.0.0.0/8", "::1")


def sparing_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that keep requests to this machine from the user's proxy.

    Parameters
    ----------
    environment : mapping of str to str

    Returns
    -------
    dict of str to str
        ``no_proxy`` in both spellings, since some programs know only one; empty where no proxy is
        set, or none is used for this machine already.
    """
    if not any(environment.get(name) or environment.get(name.upper()) for name in _PROXIES):
        return {}
    # Python asks for the small one first.
    given = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = [host.strip() for host in given.split(",") if host.strip()]
    if "*" in hosts:
        return {}
    wanted = ",".join([*hosts, *(host for host in _LOOPBACK if host not in hosts)])
    names = ("no_proxy", "NO_PROXY")
    return {} if all(environment.get(name) == wanted for name in names) else dict.fromkeys(names, wanted)


def spare_loopback() -> None:
    """Keep this process's requests to this machine from the user's proxy.

    Neither MLflow's client nor fsspec's can be told so in another way, and both go on asking.
    """
    os.environ.update(sparing_loopback(os.environ))
