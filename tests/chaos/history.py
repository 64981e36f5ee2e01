"""Is a history of concurrent commands on one account linearizable?

The algorithm is that of Wing and Gong, "Testing and verifying concurrent objects" (1993): look for an order of the operations that
respects real time (what returned before another was called comes first) and in which each returns what it would have
returned alone. It searches with memory of the (remaining operations, state) that were tried, as Lowe's version does (2017).
"""

from __future__ import annotations

from collections.abc import Iterable
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
    tried: set[tuple[frozenset[int], int]] = set()
    stack = [(frozenset(range(len(operations))), start)]
    while stack:
        left, balance = stack.pop()
        if not left:
            return True
        if (left, balance) in tried:
            continue
        tried.add((left, balance))
        earliest_return = min(operations[index].returned for index in left)
        for index in left:
            one = operations[index]
            after = balance + one.amount
            if one.called <= earliest_return and after == one.balance:
                stack.append((left - {index}, after))
    return False
