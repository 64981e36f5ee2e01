"""Makes the lines of a batch: for each command what `Changes.entries` would make, from texts whose constant parts are made once.

How it works. `LineMaker.line` takes the commands that leave what most leave: one aggregate that was loaded, with any transitions,
events and jobs. Of anything else it makes nothing, and then the whole batch is written as `Entries`. That the ledger says the same
either way is held by a test that compares all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from usecasecore.context import FiredTransition
from usecasecore.ids import HexIds
from usecasecore.ledger.json_text import canonical
from usecasecore.ledger.lines import MARK, Line, MessageLine, Shared
from usecasecore.ledger.transitions import as_json
from usecasecore.messages import Result
from usecasecore.runtime.call import Asked
from usecasecore.runtime.changes import Changes, Touched
from usecasecore.runtime.plan import Plan

__all__ = ["LineMaker"]


class LineMaker:
    """Makes the lines of the commands of one use case that were asked for together.

    Attributes:
        shared: What they have in common.
    """

    def __init__(self, plan: Plan, asked: Asked) -> None:
        assert plan.aggregate is not None
        self._plan = plan
        self._name = plan.aggregate.name
        self._payloads: dict[tuple[str, str, str, str], tuple[str, str, str]] = {}
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
        )

    @staticmethod
    def suits(plan: Plan) -> bool:
        """Say whether the commands of a use case may be written as lines: nothing of them must be kept out of the texts."""
        return not plan.sensitive

    def line(
        self, changes: Changes, result: Result, version: int | None, detail: dict[str, Any], changed: Iterable[str]
    ) -> Line | None:
        """Return the line of a command; None where it takes `Entries` to say what it did.

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
        call, key, fired = changes.call, one.plan.id_of(one.aggregate), one.transition
        id_, *ids = self._ids.take(1 + len(changes.sent) + (1 + len(one.further) if fired is not None else 0))
        lifecycle, trigger, source, dest = (
            (None, None, *one.states()) if fired is None else (fired.lifecycle, fired.trigger, fired.source, fired.dest)
        )
        now = call.now
        return _made(
            Line,
            (
                id_,
                call.command_text,
                call.key.key,
                call.fingerprint,
                key,
                version,
                lifecycle,
                trigger,
                source,
                dest,
                call.command_json,
                changes.changes_of(one, changed),
                changes.detail_of(one, detail) if detail or one.further else "{}",
                changes.text_of(result),
                now,
                now + self._plan.keep_results,
                self._messages(changes, one, key, ids),
            ),
        )

    def _messages(self, changes: Changes, one: Touched, key: str, ids: list[str]) -> list[MessageLine]:
        now, made, place = changes.call.now, [], 0
        for fired in one.transitions:
            name, payload = self._transition(fired, key, one.version)
            made.append(_made(MessageLine, (ids[place], "event", name, 1, place, payload, now)))
            place += 1
        for sent in changes.sent:
            kind = sent.message
            line = (
                ids[place],
                sent.kind,
                kind.message_name,
                kind.message_version,
                place,
                changes.text_of(kind),
                sent.available_at,
            )
            made.append(_made(MessageLine, line))
            place += 1
        return made

    def _transition(self, fired: FiredTransition, key: str, version: int) -> tuple[str, str]:
        """Return type and payload of the event that the runtime sends about a transition."""
        move = (fired.lifecycle, fired.trigger, fired.source, fired.dest)
        known = self._payloads.get(move)
        if known is None:
            before, after = canonical({"id": MARK, "version": 0, **as_json(fired)}).split(MARK)
            assert after.endswith(":0}")  # the version is the last of the names
            known = self._payloads[move] = (f"{self._name}.transition.{fired.trigger}", before, after[:-2])
        name, before, after = known
        if not _PLAIN.fullmatch(key):
            return name, canonical({"id": key, "version": version, **as_json(fired)})
        return name, f"{before}{key}{after}{version}}}"


_made = tuple.__new__  # what a named tuple's own `__new__` calls: lines are made by the thousand
_PLAIN = re.compile(r"[\w-]*", re.ASCII)
"""A key that JSON writes as it is."""
