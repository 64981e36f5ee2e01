"""State and version fields of SQLModel classes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import ClassVar

import pytest
from sqlalchemy import CheckConstraint, create_engine
from sqlmodel import Field, Session, SQLModel, select

from usecasecore.errors import GuardRejected, StateWriteRefused
from usecasecore.integrations.sqlmodel import state_field, version_field
from usecasecore.lifecycle import Lifecycle, Transition, guard


class ParcelState(StrEnum):
    PACKED = "packed"
    SENT = "sent"


class Parcel(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    weight: int = 0
    state: ParcelState = state_field(ParcelState)
    version: int = version_field()

    lifecycle: ClassVar = Lifecycle(
        states=ParcelState,
        initial=ParcelState.PACKED,
        transitions=[Transition("send", ParcelState.PACKED, ParcelState.SENT, conditions="has_weight")],
    )

    @guard("an empty parcel is not sent")
    def has_weight(self) -> bool:
        return self.weight > 0


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    SQLModel.metadata.create_all(engine, tables=[Parcel.__table__])  # type: ignore[attr-defined]  # SQLModel doesn't declare it
    with Session(engine) as session:
        yield session
    engine.dispose()


def test_a_sqlmodel_class_fires_and_stores_its_state_by_value(session: Session) -> None:
    parcel = Parcel(weight=2)
    session.add(parcel)
    session.commit()
    assert (parcel.state, parcel.version) == (ParcelState.PACKED, 1)

    Parcel.lifecycle.fire(parcel, "send")
    session.commit()

    assert session.exec(select(Parcel.state)).one() is ParcelState.SENT
    assert session.connection().exec_driver_sql("select state from parcel").scalar_one() == "sent"


def test_a_sqlmodel_class_has_no_problems_and_a_named_check() -> None:
    checks = {each.name for each in Parcel.__table__.constraints if isinstance(each, CheckConstraint)}  # type: ignore[attr-defined]
    assert Parcel.lifecycle.problems() == ()
    assert checks == {"ck_parcel_state"}


def test_guards_of_a_sqlmodel_class_are_asked(session: Session) -> None:
    parcel = Parcel(weight=0, state=ParcelState.PACKED)
    with pytest.raises(GuardRejected, match="an empty parcel is not sent"):
        Parcel.lifecycle.fire(parcel, "send")


def test_a_sqlmodel_row_is_protected(session: Session) -> None:
    parcel = Parcel(weight=2)
    session.add(parcel)
    session.commit()
    with pytest.raises(StateWriteRefused):
        parcel.state = ParcelState.SENT
    with pytest.raises(StateWriteRefused):
        parcel.version = 9


def test_without_sqlmodel_the_import_names_the_extra() -> None:
    script = "import sys; sys.modules['sqlmodel'] = None; import usecasecore.integrations.sqlmodel"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert 'pip install "usecasecore[sqlmodel]"' in ran.stderr.splitlines()[-1]
