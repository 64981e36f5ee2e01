"""One call of a use case: the validated command and everything that was said with it."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from pydantic_core import PydanticSerializationError

from usecasecore.context import Actor
from usecasecore.errors import DomainError, InvalidCommand, Undeclared
from usecasecore.ids import HexIds, uuid7
from usecasecore.ledger.entries import IdempotencyKey
from usecasecore.ledger.json_text import NotStorable, canonical, check_text
from usecasecore.ledger.personal import Commitments, PersonalValue
from usecasecore.messages import REDACT, Command, json_fields
from usecasecore.runtime.limits import Limits
from usecasecore.runtime.plan import Plan
from usecasecore.runtime.redaction import Redactor

__all__ = [
    "Asked",
    "Call",
    "check_by_use_case",
    "faults_of",
    "is_key",
    "next_of_many",
    "undeclared_refusal",
    "validated",
    "well_formed",
]

_NOTHING_HIDDEN = Redactor()


class Asked(NamedTuple):
    """What the caller said beside the command."""

    actor: Actor
    idempotency_key: str | None = None
    expected_version: int | None = None
    reason: str | None = None
    request_id: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None


class Call(NamedTuple):
    """A validated call; the same for all of its attempts.

    Attributes:
        command_text: `command_id` as text.
        use_case: Its name.
        key: The idempotency key.
        fresh: True where the runtime made the key just now, so that nothing can be stored under it yet.
        fingerprinted: The name of the use case and the fields that the caller set, in the clear.
        command_json: The command as JSON text, redacted.
        redactor: Takes the command's sensitive values out of other texts.
        personal: The values that the command's JSON text holds commitments to.
    """

    command: Command[Any]
    asked: Asked
    command_id: UUID
    command_text: str
    use_case: str
    key: str
    fresh: bool
    fingerprinted: bytes
    command_json: str
    redactor: Redactor
    personal: tuple[PersonalValue, ...]
    now: datetime

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of what is fingerprinted. Of a command in a batch the database makes it."""
        return hashlib.sha256(self.fingerprinted).digest()

    @property
    def scoped_key(self) -> IdempotencyKey:
        """The idempotency key in its scope."""
        actor = self.asked.actor
        return IdempotencyKey(actor.tenant or "", str(actor), self.use_case, self.key)


def validated(plan: Plan, command: Command[Any], asked: Asked, now: datetime, limits: Limits) -> Call:
    """Check everything that can be checked without a database.

    Raises:
        InvalidCommand: For values that don't fit their fields, that no database stores, or that exceed the limits.
        DomainError: From the use case's `validate`.
    """
    call = well_formed(plan, command, asked, now, limits)
    check_by_use_case(plan, command)
    return call


def well_formed(plan: Plan, command: Command[Any], asked: Asked, now: datetime, limits: Limits) -> Call:
    """Check what `validated` checks, but for the use case's own `validate`.

    Raises:
        InvalidCommand: See `validated`.
    """
    errors = faults_of(asked, plan.reason_required, tenants=plan.tenancy is not None)
    if asked.expected_version is not None and not plan.subject_name:
        message = "this use case has no single aggregate whose version could be expected"
        errors.append({"loc": ("expected_version",), "msg": message, "type": "invalid_call"})
    if errors:
        raise InvalidCommand(command=plan.command.__name__, errors=errors)
    return _call(plan, command, asked, asked.idempotency_key, now, limits)


def next_of_many(
    plan: Plan, command: Command[Any], first: Asked, key: str | None, now: datetime, limits: Limits, ids: HexIds
) -> Call:
    """Check what `validated` checks of a command that is asked for with the same words as one before it, but for the key.

    Args:
        first: What was said with that one, for which `validated` found nothing wrong.
        key: This one's own key.
        ids: Where its id comes from.

    Raises:
        InvalidCommand: See `validated`.
        DomainError: From the use case's `validate`.
    """
    if key is not None and not is_key(key):
        return validated(plan, command, first._replace(idempotency_key=key), now, limits)
    call = _call(plan, command, first, key, now, limits, ids)
    check_by_use_case(plan, command)
    return call


def _call(
    plan: Plan, command: Command[Any], asked: Asked, key: str | None, now: datetime, limits: Limits, ids: HexIds | None = None
) -> Call:
    if now.tzinfo is None:
        raise ValueError("the runtime's clock gave a naive time; it must be aware")
    name = plan.command.__name__
    fields = _fields(plan, command)
    try:
        text = _text(fields, limits)
    except NotStorable as error:
        # The names inside of a sensitive field are its value too.
        loc = error.path[:1] if plan.sensitive else error.path
        raise InvalidCommand(command=name, errors=[{"loc": loc, "msg": error.message, "type": "not_storable"}]) from None
    redactor, redacted = _NOTHING_HIDDEN, text
    personal: tuple[PersonalValue, ...] = ()
    if plan.sensitive:
        commitments = Commitments({name: str(getattr(command, name)) for name in plan.personal_subjects})
        clean = command.model_dump(mode="json", exclude_unset=True, context={REDACT: commitments.commit})
        redactor, redacted, personal = Redactor.between(fields, clean), canonical(clean), commitments.values(clean)
    command_id, command_text = _id_with_text() if ids is None else ids.with_text()
    fresh, fingerprinted = key is None, plan.fingerprinted + text.encode()
    own = key if key is not None else str(uuid7())
    values = (command, asked, command_id, command_text, plan.name, own, fresh, fingerprinted, redacted, redactor, personal, now)
    return tuple.__new__(Call, values)  # what its own `__new__` does


def _id_with_text() -> tuple[UUID, str]:
    made = uuid7()
    return made, str(made)


def _fields(plan: Plan, command: Command[Any]) -> dict[str, Any]:
    """Return the fields that the caller set, as JSON values: a deploy that adds a default leaves the fingerprint as it is."""
    name = plan.command.__name__
    if missing := [field for field in plan.required if field not in command.__dict__]:
        errors = [{"loc": (field,), "msg": "Field required", "type": "missing"} for field in missing]
        raise InvalidCommand(command=name, errors=errors)
    try:
        fields = json_fields(command)
        return _sets_sorted(command.model_dump(exclude_unset=True), fields) if plan.may_hold_sets else fields
    except (PydanticSerializationError, RecursionError, ValueError, TypeError, AttributeError):
        message = "a field has a value of another type, a text that isn't Unicode, or is nested too deeply"
    raise InvalidCommand(command=name, errors=[{"loc": (), "msg": message, "type": "not_serializable"}])


def _sets_sorted(value: Any, dumped: Any) -> Any:
    """Return the JSON values with what came from a set in one order: the set's own differs between processes."""
    if isinstance(value, set | frozenset):
        return sorted(dumped, key=lambda one: json.dumps(one, sort_keys=True))
    if isinstance(value, dict) and isinstance(dumped, dict):
        return {key: _sets_sorted(member, dumped[key]) for member, key in zip(value.values(), dumped, strict=True)}
    if isinstance(value, list | tuple) and isinstance(dumped, list):
        return [_sets_sorted(member, other) for member, other in zip(value, dumped, strict=True)]
    return dumped


def _text(fields: dict[str, Any], limits: Limits) -> str:
    text = canonical(fields, depth=limits.command_depth, items=limits.command_items)
    if (size := len(text) if text.isascii() else len(text.encode())) > limits.command_bytes:
        raise NotStorable((), f"the command has {size} bytes; {limits.command_bytes} are accepted")
    return text


def faults_of(asked: Asked, reason_required: bool, *, tenants: bool) -> list[dict[str, Any]]:
    """Return what is wrong with what goes with a command, in the form of `InvalidCommand.errors`."""
    faults: list[dict[str, Any]] = []

    def wrong(field: str, message: str) -> None:
        faults.append({"loc": (field,), "msg": message, "type": "invalid_call"})

    key = asked.idempotency_key
    if key is not None and not is_key(key):
        wrong("idempotency_key", "1 to 255 printable ASCII characters are accepted, without spaces at the ends")
    if asked.expected_version is not None and type(asked.expected_version) is not int:
        wrong("expected_version", "an integer is accepted")
    if reason_required and not (asked.reason or "").strip():
        wrong("reason", "this use case wants a reason")
    actor = asked.actor
    texts = (
        ("reason", asked.reason, 0, 2_000),
        ("request_id", asked.request_id, 0, 200),
        ("correlation_id", asked.correlation_id, 0, 200),
        ("causation_id", asked.causation_id, 0, 200),
        ("actor.type", actor.type, 1, 100),
        ("actor.id", actor.id, 1, 290),
        ("actor.tenant", actor.tenant, 1, 200),
        ("actor.on_behalf_of", actor.on_behalf_of, 1, 400),
    )
    for field, value, least, most in texts:
        if value is not None and (message := _text_fault(value, least, most)):
            wrong(field, message)
    if tenants and actor.tenant is None:
        wrong("actor.tenant", "this runtime keeps tenants apart; an actor of a tenant is accepted")
    return faults


def is_key(key: object) -> bool:
    """Say whether it can be an idempotency key: 1 to 255 printable ASCII characters, with no space at an end."""
    # Of the ASCII characters those from the space to the tilde are printable.
    return isinstance(key, str) and 0 < len(key) <= 255 and key.isascii() and key.isprintable() and key.strip(" ") == key


def _text_fault(value: object, least: int, most: int) -> str | None:
    if not isinstance(value, str):
        return "a text is accepted"
    if len(value) < least:
        return "it is empty"
    if len(value) > most:
        return f"it has {len(value)} characters; {most} are accepted"
    wrong = check_text(value)
    return f"it {wrong}" if wrong else None


def check_by_use_case(plan: Plan, command: Command[Any]) -> None:
    """Have the use case's own `validate` look at the command.

    Raises:
        DomainError: One that the use case declares.
        Undeclared: For another.
    """
    try:
        plan.use_case.validate(command)
    except DomainError as refusal:
        if not isinstance(refusal, plan.refuses):
            raise undeclared_refusal(plan, refusal) from refusal
        raise


def undeclared_refusal(plan: Plan, refusal: DomainError) -> Undeclared:
    """Return the error for a domain error that the use case doesn't declare."""
    declared = [kind.__name__ for kind in plan.refuses]
    return Undeclared(use_case=plan.name, what="refuses", type_name=type(refusal).__name__, declared=declared)
