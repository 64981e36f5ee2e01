"""Is a history of concurrent commands on one account linearizable?

The algorithm is that of Wing and Gong, "Testing and verifying concurrent objects" (1993): look for an order of the operations that
respects real time (what returned before another was called comes first) and in which each returns what it would have
returned alone. It searches with memory of the (remaining operations, state) that were tried, as Lowe's version does (2017).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Operation", "is_linearizable"]


@dataclass(frozen=True, slots=True)
class Operation:
    """A deposit, or a withdrawal by a negative amount.

    Attributes:
        called: When it was called; any clock that all clients share.
        returned: When it returned.
        amount: What was to be added.
        balance: The balance that was returned; None where it was refused.
    """

    called: float
    returned: float
    amount: int
    balance: int | None


def is_linearizable(history: Iterable[Operation], start: int = 0) -> bool:
    """Say whether there is an order of the operations that explains what each of them returned.

    A refused operation (`balance` None) changes nothing and may stand anywhere.
    """
    operations = tuple(sorted((one for one in history if one.balance is not None), key=lambda one: one.called))
    everything = (1 << len(operations)) - 1
    tried: set[tuple[int, int]] = set()
    stack = [(0, start)]
    while stack:
        done, balance = stack.pop()
        if done == everything:
            return True
        if (done, balance) in tried:
            continue
        tried.add((done, balance))
        for index in _candidates(operations, done):
            one = operations[index]
            if balance + one.amount == one.balance:
                stack.append((done | 1 << index, balance + one.amount))
    return False


def _candidates(operations: Sequence[Operation], done: int) -> Iterator[int]:
    """Yield those that no other one, which is not done either, precedes in real time; `done` has a bit for each operation."""
    earliest_return = math.inf
    index = (~done & (done + 1)).bit_length() - 1  # the first one that is not done
    while index < len(operations) and operations[index].called <= earliest_return:
        if not done >> index & 1:
            earliest_return = min(earliest_return, operations[index].returned)
            yield index
        index += 1
