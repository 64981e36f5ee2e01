"""Makes the lines of a batch: for each command what `Changes.entries` would make, from texts whose constant parts are made once.

How it works. `LineMaker.line` takes the commands that leave what most leave: one aggregate that was loaded, with any transitions,
events and jobs. Of anything else it makes nothing, and then the whole batch is written as `Entries`. That the ledger says the same
either way is held by a test that compares all of it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from usecasecore.ids import HexIds
from usecasecore.ledger.json_text import canonical, in_utc
from usecasecore.ledger.lines import MARK, Line, MessageLine, Move, Shared
from usecasecore.ledger.transitions import event_payload, is_plain_key
from usecasecore.messages import Result
from usecasecore.runtime.call import Asked
from usecasecore.runtime.changes import Changes, Touched
from usecasecore.runtime.plan import Plan

__all__ = ["LineMaker"]


class LineMaker:
    """Makes the lines of the commands of one use case that were asked for together.

    Attributes:
        shared: What they have in common.
        moves: What `Lines.moves` is to be for them.
    """

    def __init__(self, plan: Plan, asked: Asked) -> None:
        assert plan.aggregate is not None
        self._plan = plan
        self._name = plan.aggregate.name
        self._names: dict[tuple[tuple[str, ...], str | None], list[str]] = {}
        self._ids = HexIds()
        actor = asked.actor
        headers = {
            "use_case": plan.name,
            "actor": str(actor),
            "request_id": asked.request_id,
            "correlation_id": asked.correlation_id or MARK,
            "causation_id": MARK,
        }
        self.shared = Shared(
            tenant=actor.tenant,
            actor=str(actor),
            on_behalf_of=actor.on_behalf_of,
            use_case=plan.name,
            reason=asked.reason,
            request_id=asked.request_id,
            correlation_id=asked.correlation_id or MARK,
            causation_id=asked.causation_id,
            aggregate=self._name,
            headers=canonical({name: value for name, value in headers.items() if value is not None}),
            result_type=plan.result_type,
            result_version=plan.result.result_version,
            fingerprinted=plan.fingerprinted,
            keep=plan.keep_results,
        )
        self.moves: list[Move] = []
        self._places: dict[tuple[str | None, ...], int] = {}
        self._place = 0

    @staticmethod
    def suits(plan: Plan) -> bool:
        """Say whether the commands of a use case may be written as lines: nothing of them must be kept out of the texts.

        Nor must their keys be kept for so long that a database's calendar ends later than Python's.
        """
        return not plan.sensitive and plan.keep_results < _LONG

    def line(
        self, changes: Changes, result: Result, version: int | None, detail: dict[str, Any], changed: tuple[str, ...]
    ) -> tuple[Line, list[MessageLine]] | None:
        """Return the line of a command, and its messages; None where it takes `Entries` to say what it did.

        Args:
            changes: What it did.
            result: What it returned.
            version: The aggregate's version after it.
            detail: What the use case says for its audit entry.
            changed: The attributes of the aggregate that are unwritten.

        Raises:
            WrongResult: As `Changes.entries`.
        """
        if len(changes.touched) != 1 or version is None:
            return None
        one = changes.touched[0]
        if not one.loaded or one.created or one.deleted or one.plan.name != self._name:
            return None
        call, key, fired = changes.call, one.key, one.transition
        id_, *ids = self._ids.take(1 + len(changes.sent) + (1 + len(one.further) if fired is not None else 0))
        move = (None, None, *one.states()) if fired is None else (fired.lifecycle, fired.trigger, fired.source, fired.dest)
        now, place = call.now, self._place
        event = ids.pop() if fired is not None and not one.further and is_plain_key(key) else None
        messages = self._messages(changes, one, key, ids, moved=event is not None)
        line: Line = {
            "p": place,
            "i": id_,
            "c": call.command_text,
            "k": call.key,
            "a": key,
            "v": version,
            "w": self._places.get(move) or self._new(move),
            "m": call.command_json,
            "x": changes.changes_of(one, self._told(one, changed)),
            "z": changes.detail_of(one, detail) if detail or one.further else "{}",
            "r": changes.text_of(result),
            "o": in_utc(now),
            "n": len(messages),
        }
        if event is not None:
            line["n"] += 1
            line["j"] = event
        self._place = place + 1
        return line, messages

    def _new(self, move: tuple[str | None, ...]) -> int:
        self.moves.append(Move(*move))
        self._places[move] = len(self.moves)
        return len(self.moves)

    def _told(self, one: Touched, changed: tuple[str, ...]) -> list[str]:
        """Return the attributes of these that the entry's changes are to tell of."""
        if one.further:
            return [name for name in changed if name in one.plan.tracked and name not in one.told_otherwise()]
        what = changed, None if one.transition is None else one.transition.lifecycle
        known = self._names.get(what)
        if known is None:
            otherwise = one.told_otherwise()
            known = self._names[what] = sorted(name for name in changed if name in one.plan.tracked and name not in otherwise)
        return known

    def _messages(self, changes: Changes, one: Touched, key: str, ids: list[str], *, moved: bool) -> list[MessageLine]:
        """Return the messages; where `moved`, without the event about the one transition."""
        now, line = changes.call.now, self._place
        made: list[MessageLine] = []
        for fired in () if moved else one.transitions:
            name, payload = f"{self._name}.transition.{fired.trigger}", event_payload(fired, key, one.version)
            made.append({"p": line, "i": ids.pop(), "k": "event", "t": name, "s": 1, "n": len(made), "y": payload})
        for place, sent in enumerate(changes.sent, 1 if moved else len(made)):
            kind = sent.message
            message: MessageLine = {
                "p": line,
                "i": ids.pop(),
                "k": sent.kind,
                "t": kind.message_name,
                "s": kind.message_version,
                "n": place,
                "y": changes.text_of(kind),
            }
            if sent.available_at is not now:
                message["w"] = in_utc(sent.available_at)
            made.append(message)
        return made


_LONG = timedelta(days=365_000)
