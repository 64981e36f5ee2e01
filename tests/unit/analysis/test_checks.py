"""What the checks find beyond the examples of their pages, and what they leave alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.unit.analysis.pages import application_of
from usecasecore.analysis import Finding, check, examine

ROW = """
class Thing(Base):
    __tablename__ = "things"
    state: Mapped[str] = state_column()
    version: Mapped[int] = version_column()
    size: Mapped[int]

    def yes(self) -> bool:
        return True

    def other(self) -> bool:
        return True
"""
APP = "\n\napp = Application(moving(Thing), AllowAll())\n"


@pytest.fixture
def found(tmp_path: Path) -> Any:
    """Return what is found in an application on a Thing with this lifecycle, in the order of the codes."""

    def look(lifecycle: str, *, body: str = "", app: str = APP) -> list[Finding]:
        name = f"checked_{uuid4().hex}"
        program = f"{ROW}    lifecycle: ClassVar = Lifecycle({lifecycle})\n{body}{app}"
        return sorted(check(application_of(program, tmp_path, name).app), key=lambda finding: finding.code)

    return look


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


CLEAN = {
    "a cycle without an end": "states=['a', 'b'], initial='a', transitions=[['go', 'a', 'b'], ['back', 'b', 'a']]",
    "an end that is declared in the state": (
        "states=['a', {'name': 'b', 'final': True}], initial='a', transitions=[['go', 'a', 'b']]"
    ),
    "a composite state that is only addressed by its children": (
        "states=['a', {'name': 'b', 'children': ['x', 'y']}], initial='a', final='b_y', "
        "transitions=[['go', 'a', 'b_x'], ['on', 'b_x', 'b_y']]"
    ),
    "a final child that the state around it leads on from": (
        "states=['a', {'name': 'b', 'initial': 'x', 'children': ['x', {'name': 'y', 'final': True}]}, 'c'], initial='a', "
        "final='c', transitions=[['go', 'a', 'b'], ['on', 'b_x', 'b_y'], ['end', 'b', 'c']]"
    ),
    "a child that overrides the state around it": (
        "states=['a', {'name': 'b', 'initial': 'x', 'children': ['x', 'y']}], initial='a', final=['b'], "
        "transitions=[['go', 'a', 'b'], ['go', 'b', 'a'], ['go', 'b_x', 'b_y']], ignore={'UCC104': 'for the test'}"
    ),
    "an unguarded transition after a guarded one": (
        "states=['a', 'b', 'c'], initial='a', final=['b', 'c'], "
        "transitions=[Transition('go', 'a', 'b', conditions='yes'), Transition('go', 'a', 'c')]"
    ),
    "guards that tell the transitions apart": (
        "states=['a', 'b', 'c'], initial='a', final=['b', 'c'], "
        "transitions=[Transition('go', 'a', 'b', conditions='yes'), Transition('go', 'a', 'c', unless='yes')]"
    ),
    "more guards first": (
        "states=['a', 'b', 'c'], initial='a', final=['b', 'c'], "
        "transitions=[Transition('go', 'a', 'b', conditions=['yes', 'other']), Transition('go', 'a', 'c', conditions='yes')]"
    ),
    "two lambdas are two guards": (
        "states=['a', 'b', 'c'], initial='a', final=['b', 'c'], transitions=[Transition('go', 'a', 'b', lambda one: one.size > 1), "
        "Transition('go', 'a', 'c', lambda one: one.size < 1)]"
    ),
    "an internal transition that calls something": (
        "states=['a'], initial='a', final='a', transitions=[Transition('poke', 'a', None, before=lambda one: None)]"
    ),
    "a loop into a state that calls something": (
        "states=[{'name': 'a', 'on_enter': lambda one: None}], initial='a', final='a', transitions=[['again', 'a', '=']]"
    ),
    "a state as long as its column": (
        f"states=['a', {'b' * 64!r}], initial='a', final={'b' * 64!r}, transitions=[['go', 'a', {'b' * 64!r}]]"
    ),
}


@pytest.mark.parametrize("lifecycle", CLEAN.values(), ids=CLEAN)
def test_nothing_is_found_in(found: Any, lifecycle: str) -> None:
    assert [str(finding) for finding in found(lifecycle)] == []


def test_why_a_state_is_not_reached_is_told(found: Any) -> None:
    causes = [
        finding.cause
        for finding in found(
            "states=['a', 'b', 'c', 'd', 'e'], initial='a', final=['b', 'c', 'e'], transitions=[['go', 'a', 'b'], ['go', 'a', 'c'], "
            "['on', 'd', 'e'], ['off', 'd', 'a']]"
        )
        if finding.code == "UCC101"
    ]
    assert causes == [
        "The state 'c' can't be reached: the only transition to it, 'go' from 'a', is never made.",
        "The state 'd' can't be reached: no transition leads to it.",
        "The state 'e' can't be reached: what leads to it starts in 'd', which can't be reached either.",
    ]


def test_of_a_composite_state_that_is_not_reached_only_itself_is_told(found: Any) -> None:
    findings = found(
        "states=['a', {'name': 'b', 'initial': 'x', 'children': ['x', 'y']}], initial='a', final=['a'], "
        "transitions=[['on', 'b_x', 'b_y'], ['off', 'b_y', 'b_x']]"
    )
    assert [(finding.code, finding.cause[:15]) for finding in findings if finding.code == "UCC101"] == [
        ("UCC101", "The state 'b' c")
    ]


def test_a_state_that_only_stays_where_it_is_is_a_dead_end(found: Any) -> None:
    findings = found(
        "states=['a', 'b'], initial='a', transitions=[['go', 'a', 'b'], Transition('poke', 'b', None, before=lambda one: None)]"
    )
    assert codes(findings) == ["UCC102"]


DELETING = """

class Drop(Command[Done]):
    id: Annotated[int, Key(Thing.id)]


class Drops(UseCase[Drop, Thing, Done]):
    deletes = Thing
    {attributes}

    def apply(self, command: Drop, thing: Thing, context: ExecutionContext, /) -> Done:
        context.delete(thing)
        return Done()


app = Application([Drops, *moving(Thing)], AllowAll())
"""


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [("", []), ("trigger = 'off'", []), ("trigger = 'go'", ["UCC102"])],
    ids=["any", "its end", "another"],
)
def test_a_state_in_which_a_use_case_deletes_is_no_dead_end(found: Any, attributes: str, expected: list[str]) -> None:
    lifecycle = "states=['a', 'b', 'c'], initial='a', transitions=[['go', 'a', 'b'], ['off', 'b', 'c']]"
    assert codes(found(lifecycle)) == ["UCC102"]
    assert codes(found(lifecycle, app=DELETING.format(attributes=attributes))) == expected


def test_a_circle_in_which_a_use_case_deletes_is_no_trap(found: Any) -> None:
    lifecycle = (
        "states=['a', 'b', 'c', 'd'], initial='a', final='d', "
        "transitions=[['end', 'a', 'd'], Transition('go', 'a', 'b'), ['on', 'b', 'c'], ['back', 'c', 'b']]"
    )
    assert codes(found(lifecycle)) == ["UCC103"]
    assert codes(found(lifecycle, app=DELETING.format(attributes="trigger = 'on'"))) == []


def test_a_trap_names_its_states_and_the_way_in(found: Any) -> None:
    [finding] = found(
        "states=['a', 'b', 'c', 'd'], initial='a', final='d', "
        "transitions=[['end', 'a', 'd'], Transition('go', 'a', 'b'), ['on', 'b', 'c'], ['back', 'c', 'b']]"
    )
    assert finding.code == "UCC103"
    assert finding.cause == "From 'b' and 'c' no final state can be reached. It is entered by 'go' from 'a'."


@pytest.mark.parametrize(
    "transitions",
    [
        "Transition('go', 'a', 'b', conditions='yes'), Transition('go', 'a', 'c', conditions=['yes', 'other'])",
        "Transition('go', 'a', 'b', conditions='yes'), Transition('go', 'a', 'b', unless='yes'), Transition('go', 'a', 'c', 'other')",
        "Transition('go', 'a', 'b'), Transition('go', 'a', 'c', unless='yes')",
    ],
    ids=["it asks more than an earlier one", "the earlier ones cover every answer", "an earlier one asks nothing"],
)
def test_a_transition_is_hidden_if(found: Any, transitions: str) -> None:
    findings = found(
        f"states=['a', 'b', 'c'], initial='a', final=['b', 'c'], transitions=[{transitions}, Transition('end', 'a', 'c')]"
    )
    assert codes(findings) == ["UCC105"]
    assert "'go' from 'a' to 'c' is never made" in findings[0].cause


def test_the_same_transition_twice_is_told_as_such_with_the_place_of_the_first(found: Any) -> None:
    [finding] = found(
        "states=['a', 'b'], initial='a', final='b', "
        "transitions=[Transition('go', 'a', 'b', unless='yes'),\nTransition('go', 'a', 'b', unless='yes')]"
    )
    assert finding.code == "UCC106"
    assert "declared twice, the same destination, with the same guards (not yes)" in finding.cause
    assert f"first at {finding.location.file}:{finding.location.line - 1}" in finding.cause


def test_a_transition_declared_for_a_state_and_for_the_one_around_it_is_no_choice_left_open(found: Any) -> None:
    findings = found(
        "states=['a', {'name': 'b', 'initial': 'x', 'children': ['x']}], initial='a', final='a', "
        "transitions=[['go', 'a', 'b'], ['back', 'b', 'a'], ['back', 'b_x', 'a']], ignore={'UCC104': 'for the test'}"
    )
    assert codes(findings) == ["UCC105"]


INTERNAL = """

class Poke(Command[Done]):
    id: Annotated[int, Key(Thing.id)]


class PokeThing(UseCase[Poke, Thing, Done]):
    trigger = "poke"

    def apply(self, command: Poke, state: Thing, context: ExecutionContext, /) -> Done:
        {line}
        return Done(id=state.id)


app = Application([PokeThing], AllowAll())
"""
POKED = "states=['a'], initial='a', final='a', transitions=[['poke', 'a', {dest}]]"


@pytest.mark.parametrize("dest", ["None", "'='"])
def test_a_transition_that_stays_has_an_effect_where_its_use_case_does_something(found: Any, dest: str) -> None:
    lifecycle = POKED.format(dest=dest)
    assert codes(found(lifecycle, app=INTERNAL.format(line="pass"))) == ["UCC108"]
    for line in (
        "state.size = 2",
        "state.size += 2",
        "print(state)",
        "context.session.add(state)",
        "if state.size: return Done(id=1)",
    ):
        assert codes(found(lifecycle, app=INTERNAL.format(line=line))) == [], line


def test_guards_are_used_by_name_by_object_as_property_and_by_the_base_class(found: Any) -> None:
    body = """
    @guard("no")
    def by_name(self) -> bool:
        return True

    @property
    @guard("no")
    def by_property(self) -> bool:
        return True

    @staticmethod
    @guard("no")
    def never(one: Any) -> bool:
        return True
"""
    findings = found(
        "states=['a', 'b'], initial='a', final='b', transitions=[Transition('go', 'a', 'b', 'by_name', unless='by_property')]",
        body=body,
    )
    assert [(finding.code, finding.cause) for finding in findings] == [("UCC109", "The guard 'never' is named by no transition.")]


def test_a_method_that_is_called_like_a_callback_of_no_state_is_told(found: Any) -> None:
    body = "\n    def on_enter_b(self) -> None: ...\n\n    def on_enter_bee(self) -> None: ...\n"
    findings = found("states=['a', 'b'], initial='a', final='b', transitions=[['go', 'a', 'b']]", body=body)
    assert [(finding.code, "'on_enter_bee'" in finding.cause) for finding in findings] == [("UCC109", True)]
    assert "`on_enter`" in findings[0].cure


def test_a_use_case_whose_states_are_not_reached_can_never_run(found: Any) -> None:
    findings = found("states=['a', 'b'], initial='a', final='a', transitions=[['back', 'b', 'a']]")
    assert codes(findings) == ["UCC101", "UCC111"]
    assert "'back' starts in 'b', which can't be reached" in findings[1].cause


SENDING = """

class Told(DomainEvent):
    id: int


class Go(Command[Done]):
    id: Annotated[int, Key(Thing.id)]


def helper(context: Any) -> None: ...


class GoThing(UseCase[Go, Thing, Done]):
    trigger = "go"
    emits = (Told,)

    def apply(self, command: Go, state: Thing, context: ExecutionContext, /) -> Done:
        {line}
        return Done(id=state.id)


app = Application([GoThing], AllowAll())
"""
PLAIN = "states=['a', 'b'], initial='a', final='b', transitions=[['go', 'a', 'b']]"


@pytest.mark.parametrize(
    ("line", "is_told"),
    [
        ("pass", True),
        ("print(Told)", True),
        ("context.emit(Told(id=1))", False),
        ("helper(context)", False),
        ("told = Told(id=1); context.emit(told)", False),
        ("send = context.emit; send(Told(id=1))", False),
    ],
)
def test_an_event_that_is_declared_and_never_emitted_is_told_where_that_is_certain(found: Any, line: str, is_told: bool) -> None:
    findings = found(PLAIN, app=SENDING.format(line=line))
    assert codes(findings) == (["UCC112"] if is_told else [])
    if is_told:
        assert findings[0].cause == "The event Told is declared by GoThing, whose `apply` never emits it."
        assert findings[0].lifecycle == "thing"


def test_a_type_that_others_are_derived_from_and_one_made_in_a_function_need_not_be_sent(found: Any) -> None:
    lines = """
    class Root(DomainEvent): ...


    class Told(Root):
        id: int


    def make() -> Any:
        class Local(DomainEvent): ...

        return Local


    kept = make()
    """
    program = "\n\n" + "\n".join(line[4:] for line in lines.splitlines())
    findings = found(PLAIN, app=program + APP)
    assert [finding.cause for finding in findings] == ["No use case emits the event Told."]
    assert findings[0].lifecycle is None


CHOOSING = """

class Go(Command[Done]):
    id: Annotated[int, Key(Thing.id)]


class GoThing(UseCase[Go, Thing, Done]):
    triggers = ("go", "run")

    def choose_trigger(self, command: Go, state: Thing, context: ExecutionContext, /) -> str:
        {line}

    def apply(self, command: Go, state: Thing, context: ExecutionContext, /) -> Done:
        return Done(id=state.id)


app = Application([GoThing], AllowAll())
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("return 'go' if state.size else 'run'", []),
        ("return 'go'", ["UCC113"]),
        ("return str(command.id)", []),
    ],
)
def test_a_trigger_that_is_never_chosen_is_told_where_that_is_certain(found: Any, line: str, expected: list[str]) -> None:
    lifecycle = "states=['a', 'b'], initial='a', final='b', transitions=[['go', 'a', 'b'], ['run', 'a', 'b']]"
    assert codes(found(lifecycle, app=CHOOSING.format(line=line))) == expected


CLASHING = {
    "codes of refusals": (
        """
class Busy(DomainError):
    code = "busy"


class Engaged(DomainError):
    code = "busy"
""",
        "Busy and Engaged both have the code 'busy'",
    ),
    "the code of a refusal of the library": (
        """
class Gone(DomainError):
    code = "aggregate_not_found"


class Engaged(DomainError): ...
""",
        "AggregateNotFound and Gone both have the code 'aggregate_not_found'",
    ),
}


@pytest.mark.parametrize(("lines", "said"), CLASHING.values(), ids=CLASHING)
def test_clashing(found: Any, lines: str, said: str) -> None:
    names = [line.split("(")[0].removeprefix("class ") for line in lines.splitlines() if line.startswith("class")]
    app = SENDING.replace("    emits = (Told,)", f"    emits = (Told,)\n    refuses = ({', '.join(names)},)")
    imports = "\n\nfrom usecasecore import DomainError\n"
    findings = found(PLAIN, app=imports + lines + app.format(line="context.emit(Told(id=1))"))
    assert codes(findings) == ["UCC114"]
    assert said in findings[0].cause


def test_two_lifecycles_and_two_classes_of_one_name_clash(found: Any) -> None:
    lines = """

class OtherBase(DeclarativeBase):
    id: Mapped[int] = mapped_column(primary_key=True)


def other() -> Any:
    class Thing(OtherBase):
        __tablename__ = "other_things"
        state: Mapped[str] = state_column()
        version: Mapped[int] = version_column()
        lifecycle: ClassVar = Lifecycle(states=["a"], initial="a", final="a", transitions=[])

    return Thing


class Else(Base):
    __tablename__ = "elses"
    state: Mapped[str] = state_column()
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(states=["a"], initial="a", final="a", transitions=[], name="thing")


class Make(Command[Done]): ...


class Makes(UseCase[Make, None, Done]):
    creates = (other(), Else)

    def apply(self, command: Make, state: None, context: ExecutionContext, /) -> Done:
        raise NotImplementedError


app = Application([*moving(Thing), Makes], AllowAll())
"""
    findings = found(PLAIN, app=lines)
    assert codes(findings) == ["UCC114", "UCC114"]
    assert "are both the aggregate 'thing': their audit trails would run into one." in findings[0].cause
    assert findings[1].cause == "Thing and Else both have a lifecycle named 'thing'."


@pytest.mark.parametrize(
    ("field", "is_told"),
    [
        ("actor: str", True),
        ("current_user_id: int", True),
        ("approved_by: str", True),
        ("who: Actor | None = None", True),
        ("assignee_id: int", False),
        ("users: int", False),
    ],
)
def test_a_field_that_looks_like_the_actor_is_told(found: Any, field: str, is_told: bool) -> None:
    app = SENDING.replace("id: Annotated[int, Key(Thing.id)]", f"id: Annotated[int, Key(Thing.id)]\n    {field}")
    findings = found(PLAIN, app=app.format(line="context.emit(Told(id=1))"))
    assert codes(findings) == (["UCC117"] if is_told else [])


def test_a_key_that_is_called_like_an_actor_names_an_aggregate(found: Any) -> None:
    app = SENDING.replace("id: Annotated[int, Key(Thing.id)]", "user_id: Annotated[int, Key(Thing.id)]")
    assert found(PLAIN, app=app.format(line="context.emit(Told(id=1))")) == []


def test_a_number_that_no_integer_column_holds_does_not_fit(found: Any) -> None:
    lines = """

class Level(Enum):
    LOW = 1
    HIGH = 2**31


class Tank(Base):
    __tablename__ = "tanks"
    state: Mapped[Any] = state_column(Level)
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(states=Level, initial=Level.LOW, transitions=[["go", "LOW", "HIGH"]], final="HIGH")


app = Application([*moving(Thing), *moving(Tank)], AllowAll())
"""
    findings = found(PLAIN, app="\n\nfrom enum import Enum\n" + lines)
    assert [(finding.code, finding.lifecycle) for finding in findings] == [("UCC115", "tank")]


IGNORING = "states=['a', 'b'], initial='a', transitions=[['go', 'a', 'b']], ignore={ignored}"


def test_what_is_ignored_is_kept_with_its_reason(tmp_path: Path) -> None:
    lifecycle = IGNORING.format(ignored="{'UCC102': 'b is where things end up'}")
    module = application_of(f"{ROW}    lifecycle: ClassVar = Lifecycle({lifecycle})\n{APP}", tmp_path, "ignoring")
    report = examine(module.app)
    assert report.findings == ()
    assert [(one.finding.code, one.reason) for one in report.ignored] == [("UCC102", "b is where things end up")]


def test_an_unknown_code_that_is_ignored_is_told_with_those_that_there_are(found: Any) -> None:
    findings = found(IGNORING.format(ignored="{'UCC102': 'so', 'UCC999': 'so'}"))
    assert codes(findings) == ["UCC100"]
    assert "'UCC999', which no check has" in findings[0].cause
    assert "UCC100, UCC101" in findings[0].cure


def test_the_application_ignores_what_belongs_to_no_lifecycle(found: Any) -> None:
    told = "\n\nclass Told(DomainEvent):\n    id: int\n"
    app = (
        "\n\napp = Application(moving(Thing), AllowAll(), ignore={'UCC112': 'sent by a database trigger', 'UCC117': 'why not'})\n"
    )
    findings = found(PLAIN, app=told + app)
    assert [(finding.code, finding.lifecycle) for finding in findings] == [("UCC100", None)]
    assert "UCC117" in findings[0].cause


def test_a_subclass_is_not_told_again_what_is_wrong_with_its_base_and_uses_the_same_ignores(found: Any) -> None:
    lines = """

class Child(Thing):
    __tablename__ = "children"
    id: Mapped[int] = mapped_column(ForeignKey("things.id"), primary_key=True)


class Make(Command[Done]): ...


class Makes(UseCase[Make, None, Done]):
    creates = (Thing, Child)

    def apply(self, command: Make, state: None, context: ExecutionContext, /) -> Done:
        raise NotImplementedError


app = Application([Makes, *moving(Thing)], AllowAll())
"""
    app = "\n\nfrom sqlalchemy import ForeignKey\n" + lines
    assert codes(found(IGNORING.format(ignored="{}"), app=app)) == ["UCC102"]
    assert codes(found(IGNORING.format(ignored="{'UCC102': 'so'}"), app=app)) == []


def test_only_the_lifecycles_that_are_named_are_told(tmp_path: Path) -> None:
    told = "\n\nclass Told(DomainEvent):\n    id: int\n"
    lifecycle = IGNORING.format(ignored="{}")
    module = application_of(f"{ROW}    lifecycle: ClassVar = Lifecycle({lifecycle})\n{told}{APP}", tmp_path, "named")
    assert [finding.code for finding in check(module.app)] == ["UCC102", "UCC112"]
    assert [finding.code for finding in check(module.app, ["thing"])] == ["UCC102"]
    with pytest.raises(ValueError, match="there is no lifecycle 'thin'; known: thing"):
        check(module.app, ["thin"])


def test_a_finding_reads_as_one_line_with_its_place(found: Any) -> None:
    [finding] = found(IGNORING.format(ignored="{}"))
    assert str(finding).startswith(f"{finding.location}: UCC102 thing: Nothing leads out of the state 'b'")
