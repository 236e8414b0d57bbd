"""What a test says when something that it needs is not on this machine."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the running test, or fail it in CI, where everything has to be there.

    Parameters
    ----------
    what : str
        What is missing and how to provide it, in one sentence.
    """
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI has to provide what this test needs: {what}", pytrace=False)
    pytest.skip(what)
