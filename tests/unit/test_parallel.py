"""Calls side by side: their order, their errors, and what is left behind."""

from __future__ import annotations

import threading

import pytest

from taxiway.parallel import meanwhile, side_by_side


def test_results_come_in_the_order_of_the_items() -> None:
    second_is_done = threading.Event()

    def call(item: int) -> int:
        if item == 1:
            assert second_is_done.wait(10)
        else:
            second_is_done.set()
        return item * 10

    assert side_by_side(call, [1, 2], threads=2) == [10, 20]
    assert side_by_side(call, [], threads=2) == []


def test_the_first_error_is_raised_when_what_runs_has_ended_and_nothing_else_begins() -> None:
    failed, ended, begun = threading.Event(), threading.Event(), []

    def call(item: int) -> None:
        begun.append(item)
        if item == 1:
            failed.set()
            raise ValueError(item)
        assert failed.wait(10)
        ended.set()

    with pytest.raises(ValueError, match="1"):
        side_by_side(call, [1, 2, 3, 4], threads=2)
    assert ended.is_set() or 2 not in begun
    assert not {3, 4} & set(begun)


def test_calls_that_hang_are_left_behind_when_the_caller_gives_up() -> None:
    never, hanging = threading.Event(), threading.Event()

    def call(_: int) -> None:
        hanging.set()
        never.wait(60)

    def insist() -> None:
        if hanging.is_set():
            raise TimeoutError("enough")

    try:
        with pytest.raises(TimeoutError, match="enough"):
            side_by_side(call, [1, 2], threads=2, insist=insist)
        assert not never.is_set()
    finally:
        never.set()


def test_a_call_beside_a_block_has_ended_with_it() -> None:
    go = threading.Event()
    with meanwhile(lambda: go.wait(10)) as found:
        go.set()
    assert found.done()
    assert found.result()
