"""What can I do? Yes, no with the reasons, or that it depends on a command that isn't there yet."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, select

from examples.inventory.app import app as inventory
from examples.inventory.model import Balance
from examples.inventory.model import Base as InventoryBase
from tests.accounts import Account
from tests.bank import MakeRuntime
from tests.claims import ADA, EVE, MALLORY, Approve, Base, Claim, Close, File, application
from usecasecore import Actor, AllowAll, DefinitionError, Policy, PolicyRequest, Tenancy
from usecasecore.errors import AggregateNotFound, InvalidCommand
from usecasecore.runtime.explanation import Action, Actions, Possibility


@pytest.fixture(autouse=True)
def nothing_called() -> None:
    Claim.called.clear()


@pytest.fixture
def runtime(engine: Engine, make_runtime: MakeRuntime) -> Any:
    Base.metadata.create_all(engine)
    return make_runtime(application())


def file(runtime: Any, claim_id: int = 1, amount: int = 500, note: str = "receipt") -> None:
    runtime.execute(File(claim_id=claim_id, amount=amount, note=note), actor=ADA)


def told(actions: Actions) -> dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]:
    return {one.use_case: (one.answer.value, one.destinations, one.depends_on or codes(one)) for one in actions}


def codes(action: Action) -> tuple[str, ...]:
    return tuple(refusal.code for refusal in action.refusals)


def test_each_use_case_that_loads_the_aggregate_has_its_answer(runtime: Any) -> None:
    file(runtime)
    actions = runtime.allowed(Claim, 1, actor=ADA)
    assert (actions.aggregate, actions.key, actions.state, actions.version) == ("claim", "1", "filed", 1)
    assert told(actions) == {
        # Its guard takes the event, and looks at the actor only.
        "ApproveClaim": ("yes", ("approved",), ()),
        "PayClaim": ("no", (), ("transition_not_allowed",)),
        "CloseClaim": ("yes", ("closed",), ()),
        "SettleClaim": ("depends", ("approved", "closed"), ("choose_trigger",)),
        "ReopenClaim": ("no", (), ("transition_not_allowed",)),
        "CommentOnClaim": ("depends", (), ("policy",)),
        "CloseFound": ("yes", ("closed",), ()),
        "MergeClaims": ("depends", (), ("aggregates",)),
    }
    assert [one.use_case for one in actions.possible] == [
        "ApproveClaim",
        "CloseClaim",
        "SettleClaim",
        "CommentOnClaim",
        "CloseFound",
        "MergeClaims",
    ]
    assert actions["CloseClaim"].reason_required
    with pytest.raises(KeyError):
        _ = actions["FileClaim"]


def test_the_answer_carries_the_commands_schema_and_survives_pickling(runtime: Any) -> None:
    file(runtime)
    actions = runtime.allowed(Claim, 1, actor=ADA)
    schema = actions["PayClaim"].schema
    assert (schema["title"], set(schema["properties"]), schema["required"]) == (
        "Pay",
        {"claim_id", "amount"},
        ["claim_id", "amount"],
    )
    assert pickle.loads(pickle.dumps(actions)) == actions


def test_a_guard_that_looks_at_the_command_makes_it_depend_and_so_does_one_that_hides_the_look(runtime: Any) -> None:
    file(runtime)
    runtime.execute(Approve(claim_id=1), actor=ADA)
    pay = runtime.allowed(Claim, 1, actor=ADA)["PayClaim"]
    # `prepare` needs it, and so the guard that stands on it; the other candidate's guard says no.
    assert (pay.answer, pay.depends_on, pay.destinations) == (Possibility.DEPENDS, ("guard is_within",), ("paid",))
    runtime.execute(Close(claim_id=1), actor=ADA, reason="x")
    reopen = runtime.allowed(Claim, 1, actor=ADA)["ReopenClaim"]
    assert (reopen.answer, reopen.depends_on) == (Possibility.DEPENDS, ("guard swallows",))


def test_a_no_is_the_refusal_of_execute(runtime: Any) -> None:
    file(runtime, note="", amount=5_000)
    action = runtime.allowed(Claim, 1, actor=ADA)["ApproveClaim"]
    assert action.answer is Possibility.NO
    assert action.refusals == runtime.explain(Approve(claim_id=1), actor=ADA).refusals
    assert not action


def test_a_choice_whose_every_outcome_is_refused_is_a_no(runtime: Any) -> None:
    file(runtime)
    runtime.execute(Close(claim_id=1), actor=ADA, reason="x")
    settle = runtime.allowed(Claim, 1, actor=ADA)["SettleClaim"]
    assert (settle.answer, codes(settle)) == (Possibility.NO, ("transition_not_allowed",) * 2)


def test_who_may_not_read_is_told_that_there_is_none(runtime: Any) -> None:
    file(runtime)
    found = []
    for key, actor in ((1, MALLORY), (99, MALLORY), (99, ADA), ("no number", ADA), (2**70, ADA)):
        with pytest.raises(AggregateNotFound) as caught:
            runtime.allowed(Claim, key, actor=actor)
        found.append(repr(caught.value.refusal).replace(str(key), "1"))
    assert len(set(found)) == 1


def test_who_may_read_but_not_act_gets_no_reasons_of_guards(runtime: Any) -> None:
    file(runtime, note="")
    actions = runtime.allowed(Claim, 1, actor=EVE)
    assert told(actions)["ApproveClaim"] == ("no", (), ("forbidden",))
    assert told(actions)["PayClaim"] == ("no", (), ("forbidden", "transition_not_allowed"))
    assert "documented" not in repr(actions)


def test_a_policy_that_only_knows_with_the_command_leaves_the_guards_unasked(engine: Engine, make_runtime: MakeRuntime) -> None:
    class Looks(Policy):
        def permitted(self, request: PolicyRequest, /) -> bool:
            try:
                return bool(getattr(request.command, "amount", 0) < 10)
            except BaseException:  # noqa: BLE001 - the worst that a policy can do
                return False

    Base.metadata.create_all(engine)
    make_runtime(application()).execute(File(claim_id=1, amount=5_000), actor=ADA)
    runtime = make_runtime(application(Looks()))
    actions = runtime.allowed(Claim, 1, actor=ADA)
    # Of Approve the key is all that it says: the command is known, the policy says yes, and the guard no.
    assert told(actions)["ApproveClaim"] == ("no", (), ("guard_rejected",))
    assert told(actions)["SettleClaim"] == ("depends", ("approved", "paid", "closed"), ("policy",))
    assert told(actions)["PayClaim"] == ("no", (), ("transition_not_allowed",))


def test_an_aggregate_whose_readability_depends_on_the_command_is_not_shown(engine: Engine, make_runtime: MakeRuntime) -> None:
    class Shy(AllowAll):
        def readable(self, request: PolicyRequest, /) -> bool:
            return hasattr(request.context, "reason") and request.context.reason == "audit"

    Base.metadata.create_all(engine)
    file(make_runtime(application()))
    with pytest.raises(AggregateNotFound):
        make_runtime(application(Shy())).allowed(Claim, 1, actor=ADA)


def test_many_are_answered_in_the_order_asked_and_what_is_missing_or_hidden_is_left_out(runtime: Any, engine: Engine) -> None:
    rows = [{"id": n, "amount": n, "note": "", "state": ["filed", "closed"][n % 2], "version": n} for n in range(1, 9)]
    with engine.begin() as connection:
        connection.execute(insert(Claim), rows)
    many = runtime.allowed_many(Claim, [8, 3, 77, {"id": 1}, (8,)], actor=ADA)
    assert [(one.key, one.state, one.version) for one in many] == [
        ("8", "filed", 8),
        ("3", "closed", 3),
        ("1", "closed", 1),
        ("8", "filed", 8),
    ]
    assert list(many) == [runtime.allowed(Claim, key, actor=ADA) for key in (8, 3, 1, 8)]
    found = runtime.allowed_many(Claim, select(Claim).where(Claim.id > 5).order_by(Claim.id.desc()), actor=ADA)
    assert [one.key for one in found] == ["8", "7", "6"]
    assert runtime.allowed_many(Claim, [1, 2], actor=MALLORY) == ()
    assert [one.key for one in runtime.allowed_many(Claim, ["no number", 2, 2**70], actor=ADA)] == ["2"]
    assert runtime.allowed_many(Claim, [], actor=ADA) == ()


def test_many_rows_are_one_query(runtime: Any, engine: Engine) -> None:
    with engine.begin() as connection:
        rows = [{"id": n, "amount": n, "note": "x", "state": "filed", "version": 1} for n in range(1_000)]
        connection.execute(insert(Claim), rows)
    runtime.check()
    seen: list[str] = []
    event.listen(runtime.engine, "before_cursor_execute", lambda *call: seen.append(call[2].lower()))
    assert len(runtime.allowed_many(Claim, range(1_000), actor=ADA)) == 1_000
    assert len([statement for statement in seen if "from claims" in statement]) == 1
    assert len(seen) <= 5  # with what begins the transaction, and a savepoint on PostgreSQL


def test_a_row_of_several_that_a_use_case_loads_is_known_by_its_whole_key(engine: Engine, make_runtime: MakeRuntime) -> None:
    InventoryBase.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(Balance), {"sku": "lamp", "location": "a|b", "quantity": 5, "version": 3})
    runtime = make_runtime(inventory)
    keeper = Actor("user", "ada", roles=frozenset({"stock keeper"}))
    actions = runtime.allowed(Balance, ("lamp", "a|b"), actor=keeper)
    assert (actions.key, actions.version, actions.state) == (r"lamp|a\|b", 3, None)
    assert told(actions)["MoveInventory"][::2] == ("depends", ("aggregates",))
    assert actions == runtime.allowed(Balance, {"location": "a|b", "sku": "lamp"}, actor=keeper)
    # The policy looks at the actor only, so what else is loaded does not matter to it.
    assert told(runtime.allowed(Balance, ("lamp", "a|b")))["MoveInventory"][::2] == ("no", ("forbidden",))
    with pytest.raises(ValueError, match=r"'lamp' is no key of Balance; its columns are: sku, location"):
        runtime.allowed(Balance, "lamp")


def test_what_nobody_loads_or_can_not_be_asked_is_refused(runtime: Any) -> None:
    with pytest.raises(DefinitionError, match="no use case of the application loads Account; what is loaded: Claim"):
        runtime.allowed(Account, 1)
    with pytest.raises(DefinitionError, match="int is not a mapped class"):
        runtime.allowed(int, 1)
    with pytest.raises(InvalidCommand):
        runtime.allowed(Claim, 1, actor=Actor("user", "a\x00"))
    file(runtime)
    with pytest.raises(TypeError, match="the query returns a int"):
        runtime.allowed_many(Claim, select(Claim.id), actor=ADA)


def test_a_row_of_another_tenant_is_one_that_does_not_exist(engine: Engine, make_runtime: MakeRuntime) -> None:
    # The note plays the tenant.
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        rows = [{"id": n, "amount": 5, "note": "ab"[n % 2], "state": "filed", "version": 1} for n in (1, 2)]
        connection.execute(insert(Claim), rows)
    runtime = make_runtime(application(AllowAll()), tenancy=Tenancy("note"))
    own, other = Actor("user", "ada", tenant="b"), Actor("user", "eve", tenant="a")
    assert runtime.explain(Approve(claim_id=1), actor=own).would_run
    hidden, missing = (runtime.explain(Approve(claim_id=number), actor=other) for number in (1, 9))
    assert repr(hidden) == repr(missing).replace("9", "1")
    assert [one.key for one in runtime.allowed_many(Claim, [1, 2], actor=own)] == ["1"]
    assert [one.key for one in runtime.allowed_many(Claim, select(Claim), actor=other)] == ["2"]
    with pytest.raises(AggregateNotFound):
        runtime.allowed(Claim, 1, actor=other)
    with pytest.raises(InvalidCommand, match="this runtime keeps tenants apart"):
        runtime.allowed(Claim, 1, actor=ADA)
