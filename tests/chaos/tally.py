"""How many faults a run has seen, and what came of them; and how large a run is."""

from __future__ import annotations

import os
import random
import secrets
from dataclasses import asdict, dataclass

import pytest

__all__ = ["LONG", "Tally", "rounds", "seeded", "summary"]

LONG = os.environ.get("USECASECORE_CHAOS") == "long"


def rounds(quick: int, long: int) -> int:
    """Return how often to repeat: the first number in the suite, the second in `make chaos`."""
    return long if LONG else quick


def seeded() -> tuple[int, random.Random]:
    """Return a seed and the numbers that follow from it; USECASECORE_SEED repeats a run."""
    seed = int(os.environ.get("USECASECORE_SEED") or secrets.randbits(32))
    return seed, random.Random(seed)


@dataclass
class Tally:
    """What a test counts.

    Attributes:
        faults: How many were injected.
        lost: Acknowledged effects that are not there.
        duplicated: Effects that are there more than once.
        untyped: Errors that reached a caller and are none of ours.
    """

    faults: int = 0
    lost: int = 0
    duplicated: int = 0
    untyped: int = 0

    def assert_clean(self, hint: str = "") -> None:
        """Make sure that faults were injected and did no harm."""
        assert self.faults > 0, "no fault was injected"
        assert (self.lost, self.duplicated, self.untyped) == (0, 0, 0), f"{self} {hint}"


def summary(reports: list[pytest.TestReport]) -> str | None:
    """Return the closing line for what the tests have counted; None where nothing was."""
    total = Tally()
    for report in reports:
        for name, value in report.user_properties:
            if name == "tally" and isinstance(value, dict):
                for field, count in value.items():
                    setattr(total, field, getattr(total, field) + count)
    if not total.faults:
        return None
    return f"{total.faults} faults, {total.lost} lost, {total.duplicated} duplicated, {total.untyped} untyped"


def as_property(tally: Tally) -> tuple[str, object]:
    """Return a tally in the form in which reports travel between processes."""
    return "tally", asdict(tally)
