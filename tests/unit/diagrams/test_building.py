"""From a lifecycle to its diagram: what is shown, what stands out, and ids that never collide."""

from __future__ import annotations

import random
import re
from typing import Annotated, ClassVar
from uuid import UUID, uuid4

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.unit.cli.sample_app import Order
from tests.unit.cli.sample_app import app as sample
from tests.unit.diagrams.lifecycles import HOSTILE, everything
from usecasecore import (
    AllowAll,
    Application,
    Command,
    ExecutionContext,
    Key,
    Lifecycle,
    Result,
    Transition,
    UseCase,
    state_column,
    version_column,
)
from usecasecore.diagrams import Detail, EdgeKind, Guard, diagram_of, reduced
from usecasecore.diagrams.identifiers import identifier, named


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "documents"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    kind: Mapped[str]
    state: Mapped[str] = state_column()
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(
        states=["draft", "signed"], initial="draft", transitions=[Transition("sign", "draft", "signed")]
    )
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "document"}


class Contract(Document):
    __mapper_args__ = {"polymorphic_identity": "contract"}


class Done(Result):
    ok: bool = True


class Sign(Command[Done]):
    id: Annotated[UUID, Key(Document.id)]


class Read(Command[Done]):
    id: Annotated[UUID, Key(Document.id)]


class Draw(Command[Done]):
    pass


class SignDocument(UseCase[Sign, Document, Done]):
    trigger = "sign"

    def apply(self, command: Sign, state: Document, context: ExecutionContext, /) -> Done:
        return Done()


class ReadDocument(UseCase[Read, Document, Done]):
    def apply(self, command: Read, state: Document, context: ExecutionContext, /) -> Done:
        return Done()


class Shred(Command[Done]):
    id: Annotated[UUID, Key(Document.id)]


class Annul(Command[Done]):
    id: Annotated[UUID, Key(Document.id)]


class ShredDocument(UseCase[Shred, Document, Done]):
    deletes = Document

    def apply(self, command: Shred, state: Document, context: ExecutionContext, /) -> Done:
        return Done()


class AnnulDocument(UseCase[Annul, Document, Done]):
    trigger = "sign"
    deletes = Document

    def apply(self, command: Annul, state: Document, context: ExecutionContext, /) -> Done:
        return Done()


class DrawContract(UseCase[Draw, None, Done]):
    creates = Contract

    def apply(self, command: Draw, state: None, context: ExecutionContext, /) -> Done:
        return Done()


documents = Application([SignDocument, ReadDocument, DrawContract], AllowAll(), name="documents")


def test_an_arrow_says_its_trigger_its_guards_its_use_cases_and_what_these_send() -> None:
    diagram = diagram_of(Order.lifecycle, sample)
    (submit,) = (edge for edge in diagram.edges if edge.trigger == "submit")
    assert (submit.source, submit.dest) == ("draft", "submitted")
    assert submit.guards == (
        Guard("has_value", True, "an order must be worth something before it is submitted"),
        Guard("is_held", False, "the order is held"),
    )
    assert (submit.use_cases, submit.events) == (("SubmitOrder",), ("order.submitted",))
    assert submit.bindings[0].jobs == ("send_receipt",)


def test_creation_leads_from_the_initial_point_and_names_the_use_case_that_creates() -> None:
    creation, *others = diagram_of(Order.lifecycle, sample).edges
    assert (creation.kind, creation.source, creation.dest) == (EdgeKind.CREATION, None, "draft")
    assert creation.use_cases == ("CreateOrder",)
    assert all(edge.kind is EdgeKind.TRANSITION for edge in others)


def test_a_trigger_without_a_use_case_stands_out_only_where_the_use_cases_are_known() -> None:
    assert diagram_of(Order.lifecycle, sample).unbound_triggers == ("ship", "send", "comment")
    assert diagram_of(Order.lifecycle).unbound_triggers == ()


def test_a_use_case_that_loads_the_aggregate_and_fires_nothing_stands_out() -> None:
    diagram = diagram_of(Document.lifecycle, documents)
    assert [binding.use_case for binding in diagram.unbound_use_cases] == ["ReadDocument"]
    assert diagram.edges[0].unbound  # DrawContract makes contracts, which have their own diagram


def test_a_deletion_leads_out_of_the_state_that_the_trigger_leads_to_or_of_any() -> None:
    shredding = Application([SignDocument, ShredDocument, AnnulDocument], AllowAll())
    diagram = diagram_of(Document.lifecycle, shredding)
    deletions = [edge for edge in diagram.edges if edge.kind is EdgeKind.DELETION]
    assert [(edge.id, edge.source, edge.use_cases) for edge in deletions] == [
        ("deletion-ShredDocument", None, ("ShredDocument",)),
        ("deletion-AnnulDocument-signed", "signed", ("AnnulDocument",)),
    ]
    assert diagram.unbound_use_cases == ()


def test_a_use_case_of_a_base_class_also_goes_along_the_arrows_of_a_subclass() -> None:
    creation, sign = diagram_of(Contract.lifecycle, documents).edges
    assert (creation.use_cases, sign.use_cases) == (("DrawContract",), ("SignDocument",))


def test_a_lower_detail_leaves_out_what_it_says_and_joins_what_can_no_longer_be_told_apart() -> None:
    full = diagram_of(Order.lifecycle, sample)
    triggers, states = reduced(full, Detail.TRIGGERS), reduced(full, Detail.STATES)
    assert {edge.trigger for edge in triggers.edges} == {"", "submit", "ship", "send", "comment", "cancel"}
    assert not any(edge.guards or edge.bindings or edge.unbound for edge in triggers.edges)
    assert {edge.trigger for edge in states.edges} == {""}
    assert not any(edge.internal for edge in states.edges)
    assert reduced(states, Detail.FULL) is states
    assert reduced(triggers, Detail.STATES) == states


def test_identifiers_are_taken_everywhere_differ_for_different_names_and_can_be_read_back() -> None:
    dice = random.Random(1)
    letters = ["_", "x", "a", "2", "f", "/", "_x2f_", "é", "\x00", "\ud800"]
    names = {"".join(dice.choices(letters, k=dice.randint(0, 6))) for _ in range(5000)} | set(HOSTILE)
    identifiers = {identifier(name): name for name in names}
    assert len(identifiers) == len(names)
    for made, name in identifiers.items():
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", made)
        assert named(made) == name


def test_ids_are_unique_in_a_diagram_and_safe_in_xml_css_and_urls() -> None:
    for diagram in everything().values():
        ids = [*(node.id for node in diagram.nodes), *(edge.id for edge in diagram.edges)]
        assert len(set(ids)) == len(ids)
        assert all(re.fullmatch(r"[a-z][A-Za-z0-9_-]*", one) for one in ids)


def test_the_id_of_an_arrow_stays_when_others_come_before_it() -> None:
    ids = [edge.id for edge in diagram_of(Order.lifecycle, sample).edges]
    assert ids[:3] == ["creation", "transition-draft-submit-submitted", "transition-submitted-ship-shipping"]
    assert "transition-shipping-comment" in ids
