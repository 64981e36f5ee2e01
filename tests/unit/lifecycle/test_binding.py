"""A lifecycle is bound to each mapped class on its own, however the class is mapped."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar

import pytest
from sqlalchemy import Column, ForeignKey, Integer, String, Table
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    declarative_base,
    declared_attr,
    mapped_column,
    registry,
)

from tests.unit.lifecycle.orders import Base, Order, OrderState, mapped
from usecasecore.errors import DefinitionError, TransitionNotAllowed
from usecasecore.lifecycle import (
    Lifecycle,
    StateType,
    Transition,
    VersionType,
    guard,
    lifecycles_of,
    state_column,
    version_attribute,
    version_column,
)


class Payment(StrEnum):
    OPEN = "open"
    PAID = "paid"


class Shipping(StrEnum):
    PACKED = "packed"
    SENT = "sent"


class Sale(Base):
    __tablename__ = "sales"

    id: Mapped[int] = mapped_column(primary_key=True)
    payment_state: Mapped[Payment] = state_column(Payment)
    shipping_state: Mapped[Shipping] = state_column(Shipping, name="shipped")
    version: Mapped[int] = version_column()

    payment = Lifecycle(
        states=Payment, initial=Payment.OPEN, column="payment_state", transitions=[Transition("pay", Payment.OPEN, Payment.PAID)]
    )
    shipping: ClassVar = Lifecycle(
        states=Shipping,
        initial="packed",
        column="shipping_state",
        name="delivery",
        transitions=[Transition("send", Shipping.PACKED, Shipping.SENT, conditions="is_paid")],
    )

    def is_paid(self) -> bool:
        return self.payment_state is Payment.PAID


def test_one_class_has_several_lifecycles_each_with_its_name_and_column() -> None:
    assert [each.name for each in lifecycles_of(Sale)] == ["sale.payment", "delivery"]
    assert [each.column for each in lifecycles_of(Sale)] == ["payment_state", "shipping_state"]
    assert [each.problems() for each in lifecycles_of(Sale)] == [(), ()]
    sale = Sale(payment_state=Payment.OPEN, shipping_state=Shipping.PACKED)
    Sale.payment.fire(sale, "pay")
    Sale.shipping.fire(sale, "send")
    assert (sale.payment_state, sale.shipping_state) == (Payment.PAID, Shipping.SENT)


class Document(Base):
    __tablename__ = "documents"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "document"}

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    state: Mapped[str] = state_column()
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(
        states=["draft", "signed"],
        initial="draft",
        transitions=[Transition("sign", "draft", "signed", conditions="may_be_signed")],
    )

    @guard("a document needs a name")
    def may_be_signed(self) -> bool:
        return True


class Contract(Document):
    __mapper_args__ = {"polymorphic_identity": "contract"}

    @guard("a contract needs two parties")
    def may_be_signed(self) -> bool:
        return False


class Deed(Document):
    __tablename__ = "deeds"
    __mapper_args__ = {"polymorphic_identity": "deed"}

    id: Mapped[int] = mapped_column(ForeignKey("documents.id"), primary_key=True)
    lifecycle: ClassVar = Lifecycle(
        states=["sealed", "opened"], initial="sealed", transitions=[["open", "sealed", "opened"]], name="deed"
    )


def test_an_inherited_lifecycle_is_bound_to_the_subclass_too() -> None:
    assert Contract.lifecycle is not Document.lifecycle
    assert Contract.lifecycle.declaration is Document.lifecycle.declaration
    assert (Contract.lifecycle.name, Contract.lifecycle.aggregate) == ("contract", Contract)
    assert Contract.lifecycle.machine is not Document.lifecycle.machine
    assert Contract.lifecycle.graph.edges[0].location == Document.lifecycle.graph.edges[0].location
    assert lifecycles_of(Contract) == (Contract.lifecycle,)


def test_a_subclass_may_override_a_guard_and_its_reason() -> None:
    assert Document.lifecycle.fire(Document(state="draft"), "sign").dest == "signed"
    with pytest.raises(Exception, match="a contract needs two parties"):
        Contract.lifecycle.fire(Contract(state="draft"), "sign")


def test_a_subclass_may_declare_a_lifecycle_of_its_own() -> None:
    assert (Deed.lifecycle.name, Deed.lifecycle.initial, Deed.lifecycle.problems()) == ("deed", "sealed", ())
    with pytest.raises(TransitionNotAllowed):
        Deed.lifecycle.fire(Deed(state="opened"), "open")


class Reviewed:
    """A mixin; being no mapped class it stays unbound."""

    state: Mapped[str] = state_column(["new", "done"])
    version: Mapped[int] = version_column()
    review = Lifecycle(states=["new", "done"], initial="new", transitions=[["finish", "new", "done"]], name="review")


class Article(Reviewed, Base):
    __tablename__ = "articles"
    id: Mapped[int] = mapped_column(primary_key=True)


class Photo(Reviewed, Base):
    __tablename__ = "photos"
    id: Mapped[int] = mapped_column(primary_key=True)


class Abstract(Base):
    __abstract__ = True

    @declared_attr
    def state(cls) -> Mapped[str]:  # noqa: N805
        return state_column()

    version: Mapped[int] = version_column()
    lifecycle = Lifecycle(states=["new"], initial="new", transitions=[])


class Concrete(Abstract):
    __tablename__ = "concretes"
    id: Mapped[int] = mapped_column(primary_key=True)


def test_a_mixed_in_lifecycle_is_bound_to_each_mapped_class() -> None:
    assert Article.review is not Photo.review
    assert (Article.review.aggregate, Photo.review.aggregate) == (Article, Photo)
    assert (Article.review.name, Photo.review.name) == ("article.review", "photo.review")
    article = Article(state="new")
    Article.review.fire(article, "finish")
    assert article.state == "done"


def test_mixins_and_abstract_classes_stay_unbound() -> None:
    assert "not mapped" in repr(Reviewed.review)
    assert "not mapped" in repr(Abstract.lifecycle)
    assert (lifecycles_of(Reviewed), lifecycles_of(Abstract)) == ((), ())
    assert Concrete.lifecycle.name == "concrete"


def test_an_imperatively_mapped_class_is_bound() -> None:
    cls = mapped({"lifecycle": Lifecycle(states=["a", "b"], initial="a", transitions=[["go", "a", "b"]])})
    assert (cls.lifecycle.name, cls.lifecycle.problems()) == ("thing", ())
    row = cls(state="a")
    cls.lifecycle.fire(row, "go")
    assert row.state == "b"


def test_a_class_that_is_mapped_again_is_bound_again() -> None:
    class Twice:
        lifecycle = Lifecycle(states=["a"], initial="a", transitions=[], name="mine")

    def map_it() -> registry:
        mappings = registry()
        columns: list[Column[Any]] = [
            Column("id", Integer, primary_key=True),
            Column("state", StateType()),
            Column("version", VersionType()),
        ]
        mappings.map_imperatively(Twice, Table("twice", mappings.metadata, *columns))
        return mappings

    map_it().dispose()
    first = Twice.lifecycle
    map_it()
    assert first is not Twice.lifecycle
    assert Twice.lifecycle.name == "mine"


def test_one_lifecycle_may_stand_in_two_classes() -> None:
    shared = Lifecycle(states=["a"], initial="a", transitions=[])
    first, second = mapped({"lifecycle": shared}, name="First"), mapped({"lifecycle": shared}, name="Second")
    assert (first.lifecycle.name, second.lifecycle.name) == ("first", "second")


def test_a_declarative_class_of_the_older_style_is_bound() -> None:
    old: Any = declarative_base()

    body = {
        "__tablename__": "old",
        "id": Column(Integer, primary_key=True),
        "state": Column(StateType(), nullable=False),
        "version": Column(VersionType(), nullable=False, default=1),
        "lifecycle": Lifecycle(states=["a"], initial="a", transitions=[]),
    }
    cls: Any = type("Old", (old,), body)
    assert (cls.lifecycle.name, cls.lifecycle.problems()) == ("old", ())


class DataBase(MappedAsDataclass, DeclarativeBase):
    pass


class Datum(DataBase):
    __tablename__ = "data"
    id: Mapped[int] = mapped_column(init=False, primary_key=True)
    total: Mapped[int]
    state: Mapped[OrderState] = state_column(OrderState, default=OrderState.DRAFT)
    version: Mapped[int] = version_column(init=False)
    lifecycle: ClassVar = Lifecycle(states=OrderState, initial=OrderState.DRAFT, transitions=[["submit", "draft", "submitted"]])


def test_a_dataclass_is_bound_and_its_lifecycle_is_no_field() -> None:
    datum = Datum(total=5)
    assert (datum.state, Datum.lifecycle.problems()) == (OrderState.DRAFT, ())
    Datum.lifecycle.fire(datum, "submit")
    assert datum.state is OrderState.SUBMITTED


def test_a_class_that_is_not_mapped_has_no_lifecycles_and_no_version() -> None:
    assert lifecycles_of(int) == ()
    assert version_attribute(int) is None
    assert version_attribute(Order) == "version"


def test_a_class_with_a_version_only_has_no_lifecycle() -> None:
    class Balance(Base):
        __tablename__ = "balances_of_binding"
        id: Mapped[int] = mapped_column(primary_key=True)
        revision: Mapped[int] = version_column()

    assert lifecycles_of(Balance) == ()
    assert version_attribute(Balance) == "revision"


def test_a_wrong_lifecycle_ends_the_mapping_of_a_declarative_class() -> None:
    with pytest.raises(DefinitionError, match="did you mean 'paid'"):

        class Wrong(Base):
            __tablename__ = "wrong"
            id: Mapped[int] = mapped_column(primary_key=True)
            state: Mapped[str] = state_column()
            lifecycle: ClassVar = Lifecycle(states=["paid"], initial="payd", transitions=[])


def problems_of(body: dict[str, Any], *, base: Any = None, name: str = "Flawed") -> list[str]:
    """Return the problems of the lifecycles of a declarative class with this body, without their places."""

    class Local(DeclarativeBase):
        pass

    cls = type(name, (base or Local,), {"__tablename__": name.lower(), "id": mapped_column(Integer, primary_key=True), **body})
    return [problem.split("': ", 1)[1] for each in lifecycles_of(cls) for problem in each.problems()]


def plain(**options: Any) -> Lifecycle:
    declared: dict[str, Any] = {"states": ["a", "b"], "initial": "a", "transitions": [], **options}
    return Lifecycle(**declared)


def test_a_missing_state_column_is_a_problem_and_no_error() -> None:
    body = {"version": version_column(), "lifecycle": plain()}
    assert problems_of(body) == ["Flawed has no state column 'state'; add `state: Mapped[...] = state_column(...)`"]


def test_a_misspelt_state_column_is_a_problem() -> None:
    body = {"status": state_column(), "version": version_column(), "lifecycle": plain(column="staus")}
    assert problems_of(body) == ["Flawed has no state column 'staus'; did you mean 'status'?"]


def test_a_plain_column_is_a_problem_but_fires_all_the_same() -> None:
    body = {"state": mapped_column(String), "version": version_column(), "lifecycle": plain(transitions=[["go", "a", "b"]])}
    assert problems_of(body) == ["Flawed.state is a String column; declare it with `state_column(...)`"]


def test_a_missing_version_column_is_a_problem() -> None:
    body = {"state": state_column(), "lifecycle": plain()}
    assert problems_of(body) == ["Flawed has no version column; add `version: Mapped[int] = version_column()`"]


def test_two_version_columns_are_a_problem() -> None:
    body = {"state": state_column(), "one": version_column(), "two": version_column(), "lifecycle": plain()}
    assert problems_of(body) == ["Flawed has several version columns (one, two); keep one"]


def test_a_version_id_col_on_the_version_column_is_a_problem() -> None:
    version = version_column()
    body = {
        "state": state_column(),
        "version": version,
        "__mapper_args__": {"version_id_col": version.column},
        "lifecycle": plain(),
    }
    assert problems_of(body) == ["Flawed.version is also the mapper's `version_id_col`, which counts flushes; leave that out"]


def test_a_column_of_two_lifecycles_is_a_problem_of_both() -> None:
    body = {"state": state_column(), "version": version_column(), "one": plain(), "two": plain()}
    assert problems_of(body) == [
        "its column 'state' is also that of 'two'; give each its own",
        "its column 'state' is also that of 'one'; give each its own",
    ]


def test_a_column_that_cannot_hold_a_state_is_a_problem() -> None:
    body = {"state": state_column(["a", "c"]), "version": version_column(), "lifecycle": plain()}
    assert problems_of(body) == ["Flawed.state can't hold the state 'b' (stored as 'b'); give `state_column` the same states"]


def test_a_default_other_than_the_initial_state_is_a_problem() -> None:
    body = {"state": state_column(default="b"), "version": version_column(), "lifecycle": plain()}
    assert problems_of(body) == ["Flawed.state has the default 'b', but a new flawed starts in 'a'; leave the default out"]


def test_a_default_that_is_the_initial_state_is_none() -> None:
    body = {"state": state_column(OrderState, default=OrderState.DRAFT), "version": version_column()}
    assert problems_of({**body, "lifecycle": plain(states=OrderState, initial=OrderState.DRAFT)}) == []


def test_a_problem_says_where_the_lifecycle_is() -> None:
    lifecycle = plain()
    cls = mapped({"lifecycle": lifecycle, "other": plain(column="nowhere")})
    assert cls.other.problems()[0].startswith(f"{cls.other.location}: lifecycle 'thing.other': ")


def test_the_only_state_column_is_the_default_whatever_its_name() -> None:
    body = {"status": state_column(), "version": version_column(), "lifecycle": plain()}
    assert problems_of(body) == []


def test_a_plain_column_holds_members_or_values() -> None:
    class Local(DeclarativeBase):
        pass

    class Plainly(Local):
        __tablename__ = "plainly"
        id: Mapped[int] = mapped_column(primary_key=True)
        state: Mapped[Any] = mapped_column(String)
        lifecycle: ClassVar = Lifecycle(states=OrderState, initial="draft", transitions=[["pay", "draft", "paid"]])

    row = Plainly(state="draft")
    Plainly.lifecycle.fire(row, "pay")
    assert row.state is OrderState.PAID


@pytest.mark.parametrize(
    ("name", "snake"),
    [("Order", "order"), ("SpecialOrder", "special_order"), ("HTTPOrder", "http_order"), ("B2BOrder", "b2_b_order")],
)
def test_the_aggregate_name_is_the_class_name_in_snake_case(name: str, snake: str) -> None:
    assert mapped({"lifecycle": plain()}, name=name).lifecycle.aggregate_name == snake
