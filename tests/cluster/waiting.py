"""Wait for a condition, with a deadline. Never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE = 0.25


def until(what: str, probe: Callable[[], T], seconds: float, *, pause: float = PAUSE) -> T:
    """`probe`'s first true answer. An AssertionError from it, or a false answer, means not yet.

    AssertionError, with the last reason, when there is none within `seconds`.
    """
    began = time.monotonic()
    why = ""
    while True:
        try:
            if answer := probe():
                return answer
            why = f"{answer!r}"
        except AssertionError as error:
            why = str(error)
        assert time.monotonic() - began < seconds, f"not in {seconds:.0f} s: {what}; last: {why}"
        time.sleep(pause)
