"""When a feature is flagged: the decision alone, with plain numbers."""

from __future__ import annotations

import pytest

from taxiway.leakage import is_flagged


@pytest.mark.parametrize(
    ("alone", "without", "full", "flagged"),
    [
        (0.9, 0.1, 0.92, True),  # as payment type for the tip
        (0.6, 0.9, 0.92, True),  # alone it is enough, though others say the same
        (0.59, 0.9, 0.92, False),
        (0.1, 0.2, 0.5, True),  # without it 60 % of the skill is gone
        (0.1, 0.21, 0.5, False),
        (0.29, 0.0, 0.29, False),  # a model that knows little has no leak to explain
        (0.0, -0.2, 0.4, True),  # worse than guessing
    ],
)
def test_what_carries_a_model_is_flagged(alone: float, without: float, full: float, flagged: bool) -> None:
    assert is_flagged(alone, without, full) is flagged
