"""The options that every command shares."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import click

from taxiway.settings import SETTINGS, SPARK_SETTING, load_settings

Function = TypeVar("Function", bound=Callable[..., Any])


def with_settings(function: Function) -> Function:
    """Add the options of the settings, and pass a `Settings` as the first argument."""

    @wraps(function)
    def wrapper(**arguments: Any) -> Any:
        keys = [*(setting.key for setting in SETTINGS), SPARK_SETTING.key]
        settings = load_settings({key: arguments.pop(key) for key in keys})
        return function(settings, **arguments)

    decorated = cast("Function", wrapper)
    decorated = click.option("--verbose", is_flag=True, expose_value=False, help="Show the traceback of an error.")(
        decorated
    )
    decorated = click.option(
        "--spark", multiple=True, metavar="KEY=VALUE", help=f"{SPARK_SETTING.help}.  [env: {SPARK_SETTING.variable}]"
    )(decorated)
    for setting in reversed(SETTINGS):
        decorated = click.option(
            f"--{setting.key.replace('_', '-')}",
            setting.key,
            metavar="TEXT",
            help=f"{setting.help}.  [env: {setting.variable}]",
        )(decorated)
    return decorated


def with_json(function: Function) -> Function:
    """Add ``--json``, passed as ``as_json``."""
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON document on standard output, progress on standard error."
    )(function)
