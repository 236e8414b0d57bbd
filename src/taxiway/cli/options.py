"""The options that every command shares."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from taxiway.cli.process import lend_home
from taxiway.settings import SETTINGS, SPARK_SETTING, Settings, load_settings

if TYPE_CHECKING:
    from taxiway.ui import Page

Function = TypeVar("Function", bound=Callable[..., Any])


_OF_THE_STORE = ("home", "tracking_uri", "profile", "stack")


def same_store(settings: Settings) -> str:
    """The options of this command line that name the store, as the next command needs them; a blank before each."""
    values = {key: getattr(settings, key) for key in _OF_THE_STORE}
    if settings.stack is not None:
        values["stack"] = settings.stack.folder
    options = {key: f"--{key.replace('_', '-')}" for key in _OF_THE_STORE}
    given = [key for key, option in options.items() if settings.origins.get(key) == option]
    return "".join(f" {options[key]} {shlex.quote(str(values[key]))}" for key in given)


def mlflow_line(settings: Settings, page: Page, name: str) -> str:
    """Where MLflow shows what a command did: a link, or the next command for a store without a server."""
    from taxiway.ui import pages_address, where

    options = same_store(settings) if pages_address(settings) is None else ""
    return f"In MLflow: {where(settings, page, name)}{options}"


def with_settings(function: Function) -> Function:
    """Add the options of the settings, and pass a `Settings` as the first argument."""

    @wraps(function)
    def wrapper(**arguments: Any) -> Any:
        keys = [*(setting.key for setting in SETTINGS), SPARK_SETTING.key]
        settings = load_settings({key: arguments.pop(key) for key in keys})
        lend_home(settings.home)
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
