"""Facts: what a run of the tests can say about a transition."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

__all__ = ["Fact", "Kind"]


class Kind(StrEnum):
    """What happened.

    Attributes:
        CREATED: An aggregate was created in `source`, and that was committed.
        ATTEMPTED: A trigger was fired on an aggregate in `source`, whatever came of it.
        REFUSED: The trigger is not declared for `source`.
        STOPPED: `guard` said no to the transition `edge`.
        ROLLED_BACK: The transition was made, and then rolled back.
        COMMITTED: The transition was made and committed.
        FOLLOWED: The transition `edge` was committed as the next one after `before` on the same aggregate, in one test.
    """

    CREATED = "created"
    ATTEMPTED = "attempted"
    REFUSED = "refused"
    STOPPED = "stopped"
    ROLLED_BACK = "rolled_back"
    COMMITTED = "committed"
    FOLLOWED = "followed"


class Fact(NamedTuple):
    """One kind of thing that happened; how often, and in which test, is counted beside it. What does not apply is empty.

    Attributes:
        use_case: Whose command it was.
        trigger: What was fired.
        source: Name of the resting state before; of a creation, the state that the aggregate was created in.
        dest: Name of the resting state after.
        edge: Key of the declared transition; see `declared.edge_keys`.
        guard: Name of the guard.
        before: Key of the transition before.
    """

    kind: Kind
    use_case: str = ""
    trigger: str = ""
    source: str = ""
    dest: str = ""
    edge: str = ""
    guard: str = ""
    before: str = ""
