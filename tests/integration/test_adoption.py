"""Adopting a table that lives already: its columns, its states, and the baseline of each row; on both databases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, Engine, String, create_engine, literal, select, text, update
from sqlalchemy.orm import Session

from tests.bank import POOL
from tests.shop import (
    Annotate,
    Base,
    Delivery,
    Erase,
    Fill,
    Finish,
    Order,
    OrderState,
    Pay,
    Send,
    Shelf,
    Submit,
    app,
    old_orders,
)
from tests.unit.cli.command_line import CommandLine
from usecasecore import Runtime, uuid7
from usecasecore.adoption import LiveRows, adopt, column_findings, outstanding, rows_of
from usecasecore.ledger import ledger_tables
from usecasecore.lifecycle import Lifecycle, unprotected
from usecasecore.runtime.database import command_engine
from usecasecore.runtime.limits import Limits
from usecasecore.verification import verify

AUDIT = ledger_tables().audit
# How long a writer waits for SQLite's one lock depends on the machine.
PATIENT = Limits(busy_timeout=timedelta(seconds=120))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, **POOL)
    yield engine
    engine.dispose()


@pytest.fixture
def runtime(engine: Engine) -> Runtime:
    """A runtime on tables that are as they should be, and empty."""
    Base.metadata.create_all(engine)
    return Runtime(engine, app)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database_url: str) -> CommandLine:
    """The command line, with the application and the database named by the environment."""
    monkeypatch.setenv("USECASECORE_APP", "tests.shop:app")
    monkeypatch.setenv("USECASECORE_URL", database_url)
    return CommandLine(capsys)


@pytest.fixture
def transact(engine: Engine) -> Callable[[Callable[[Connection], Any]], Any]:
    commands = command_engine(engine, PATIENT)

    def transact(work: Callable[[Connection], Any]) -> Any:
        with commands.begin() as connection:
            return work(connection)

    return transact


def the_rows(lifecycle: Lifecycle = Order.lifecycle) -> LiveRows:
    [rows] = rows_of(lifecycle)
    return rows


def orders(engine: Engine, number: int, state: str = "draft", version: int = 1) -> list[UUID]:
    """Orders that were written past the runtime."""
    ids = [uuid7() for _ in range(number)]
    with Session(engine) as session, session.begin():
        session.add_all([Order(id=one, state=OrderState(state), version=version) for one in ids])
    return ids


def entries(engine: Engine, aggregate_id: object) -> list[tuple[Any, ...]]:
    columns = AUDIT.c.version, AUDIT.c.kind, AUDIT.c.from_state, AUDIT.c.to_state
    with engine.connect() as connection:
        statement = select(*columns).where(AUDIT.c.aggregate_id == str(aggregate_id)).order_by(AUDIT.c.version)
        return [tuple(row) for row in connection.execute(statement)]


def table_of_old_orders(engine: Engine) -> list[UUID]:
    ids = [uuid7() for _ in range(3)]
    old_orders(engine, ids)
    return ids


def test_what_the_columns_lack_is_printed_as_operations_that_can_be_pasted(run: CommandLine, engine: Engine) -> None:
    ids = table_of_old_orders(engine)
    ran = run("db", "adopt", "order")
    assert ran.code == 1
    assert "# there is no column orders.version" in ran.out
    assert "# orders.status may be NULL" in ran.out
    assert "# there is no CHECK ck_orders_status over the states in orders.status" in ran.out
    assert "hint: put the operations into a migration of yours" in ran.err
    migrated(engine, ran.out)
    with engine.connect() as connection:
        assert column_findings(connection, the_rows()) == ()
    assert run("db", "adopt", "order").out == "order: 3 rows looked at, 3 baselines written\n"
    assert entries(engine, ids[0]) == [(1, "baseline", None, "draft")]
    with engine.begin() as connection, pytest.raises(Exception, match=r"ck_orders_status|CHECK"):
        connection.execute(text("update orders set status = 'nonsense'"))


def migrated(engine: Engine, printed: str) -> None:
    """Run the printed text as Alembic would."""
    names: dict[str, Any] = {}
    exec(compile(printed, "migration", "exec", dont_inherit=True), names)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"transaction_per_migration": True})
        with context.begin_transaction(_per_migration=True), Operations.context(context):
            names["upgrade"]()


@pytest.mark.parametrize("with_holes", [False, True])
def test_a_version_column_of_the_applications_own_is_taken_over(run: CommandLine, engine: Engine, with_holes: bool) -> None:
    ids = table_of_old_orders(engine)
    stored: Any = ids[0].hex if engine.dialect.name == "sqlite" else ids[0]
    with engine.begin() as connection:
        connection.execute(text("alter table orders add column version integer"))
        connection.execute(text("update orders set version = 7"))
        if with_holes:
            connection.execute(text("update orders set version = null where id = :id"), {"id": stored})
    ran = run("db", "adopt", "order", "--dry-run")
    assert "# orders.version may be NULL" in ran.out
    migrated(engine, ran.out)
    assert run("db", "adopt", "order", "--format", "json").data["written"] == 3
    assert [entries(engine, one)[0][0] for one in ids] == [1 if with_holes else 7, 7, 7]


@pytest.mark.postgresql
def test_a_native_enum_and_a_column_that_is_too_short_are_changed(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("create type order_status as enum ('draft', 'submitted', 'paid')"))
        connection.execute(
            text(
                "create table orders (id uuid primary key, note varchar(50) not null, status order_status not null, "
                "version bigint not null default 1)"
            )
        )
        connection.execute(text("insert into orders values (gen_random_uuid(), '', 'paid')"))
    run = CommandLine(capsys)
    where = ("--app", "tests.shop:app", "--url", postgres_url)
    ran = run("db", "adopt", "order", *where)
    assert "# orders.status is of the type order_status, not a text" in ran.out
    assert "# rewrites the table under an exclusive lock" in ran.out
    migrated(engine, ran.out)
    assert run("db", "adopt", "order", *where).code == 0
    with engine.begin() as connection:
        connection.execute(text("alter table orders drop constraint ck_orders_status"))
        connection.execute(text("alter table orders alter column status type varchar(5)"))
        connection.execute(text("alter table orders add constraint ck_orders_status check (status in ('draft', 'paid'))"))
    ran = run("db", "adopt", "order", *where)
    assert "too short for the longest state" in ran.out
    assert "lists draft, paid; the states are draft, paid, submitted" in ran.out
    assert "rewrites" not in ran.out
    migrated(engine, ran.out)
    assert run("db", "adopt", "order", *where).code == 0
    engine.dispose()


def test_a_table_that_is_missing_is_said_to_be(run: CommandLine) -> None:
    ran = run("db", "adopt", "order")
    assert (ran.code, ran.out) == (1, "# there is no table orders\n# there is no table orders\n")


def test_rows_in_undeclared_states_are_counted_and_nothing_is_written(run: CommandLine, runtime: Runtime, engine: Engine) -> None:
    [first, second, third, _] = orders(engine, 4)
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(text("pragma ignore_check_constraints = on"))
        else:
            connection.execute(text("alter table orders drop constraint ck_orders_status"))
        table: Any = Order.__table__
        for order_id, state in ((first, "parked"), (second, "lost"), (third, "parked")):
            connection.execute(update(table).where(table.c.id == order_id).values(status=literal(state, String)))
        if engine.dialect.name == "postgresql":
            check = "check (status in ('draft', 'submitted', 'paid'))"
            connection.execute(text(f"alter table orders add constraint ck_orders_status {check} not valid"))
    ran = run("db", "adopt", "order", "--format", "json")
    assert ran.code == 1
    assert ran.data["undeclared"] == [
        {"lifecycle": "order", "state": "parked", "rows": 2},
        {"lifecycle": "order", "state": "lost", "rows": 1},
    ]
    assert "hint: declare these states" in ran.err
    assert [line.split() for line in run("db", "adopt", "order").out.splitlines()[2:]] == [
        ["order", "parked", "2"],
        ["order", "lost", "1"],
    ]
    with engine.connect() as connection:
        assert connection.execute(select(AUDIT)).all() == []


def test_a_baseline_says_who_and_why_and_where_the_row_stood(run: CommandLine, runtime: Runtime, engine: Engine) -> None:
    [order_id] = orders(engine, 1, "submitted")
    assert run("db", "adopt", "order", "--reason", "the move of 2026").code == 0
    with engine.connect() as connection:
        [entry] = connection.execute(select(AUDIT)).all()
    assert (entry.kind, entry.version, entry.from_state, entry.to_state) == ("baseline", 1, None, "submitted")
    assert (entry.aggregate, entry.aggregate_id, entry.lifecycle) == ("order", str(order_id), "order")
    assert (entry.actor, entry.use_case, entry.reason) == ("system:usecasecore", "db adopt", "the move of 2026")
    assert (entry.command, entry.changes, entry.detail, entry.trigger) == ({}, {}, {}, None)
    assert (entry.id.version, entry.command_id.version) == (7, 7)
    assert abs((entry.recorded_at - entry.occurred_at).total_seconds()) < 5
    assert f"{order_id}  1        (baseline) → submitted  db adopt" in run("audit", "tail").out


def test_ids_are_in_the_order_of_time_and_none_is_given_twice(runtime: Runtime, engine: Engine, transact: Any) -> None:
    orders(engine, 300)
    before = uuid7()
    list(adopt(transact, the_rows(), batch=50))
    with engine.connect() as connection:
        ids = connection.execute(select(AUDIT.c.id)).scalars().all()
    assert len(set(ids)) == 300
    assert all(before.int >> 80 <= one.int >> 80 <= uuid7().int >> 80 for one in ids)
    assert {(one.version, one.variant) for one in ids} == {(7, "specified in RFC 4122")}


def test_a_command_goes_on_from_the_baseline(run: CommandLine, runtime: Runtime, engine: Engine) -> None:
    [order_id] = orders(engine, 1)
    run("db", "adopt", "order")
    runtime.execute(Submit(order_id=order_id))
    assert entries(engine, order_id) == [(1, "baseline", None, "draft"), (2, "change", "draft", "submitted")]


@pytest.mark.parametrize("version", [0, 1, 7])
def test_commands_that_came_first_keep_their_entries_and_the_baseline_goes_below_them(
    run: CommandLine, runtime: Runtime, engine: Engine, version: int
) -> None:
    [order_id] = orders(engine, 1, version=version)
    runtime.execute(Annotate(order_id=order_id, note="x"))
    runtime.execute(Submit(order_id=order_id))
    runtime.execute(Pay(order_id=order_id))
    assert run("db", "adopt", "order", "--format", "json").data["written"] == 1
    assert entries(engine, order_id) == [
        (version, "baseline", None, "draft"),
        (version + 1, "change", None, None),
        (version + 2, "change", "draft", "submitted"),
        (version + 3, "change", "submitted", "paid"),
    ]


def test_a_second_run_writes_nothing(run: CommandLine, runtime: Runtime, engine: Engine) -> None:
    orders(engine, 7)
    first = run("db", "adopt", "order", "--batch", "3", "--format", "json").data
    again = run("db", "adopt", "order", "--batch", "3", "--format", "json").data
    assert (first["rows"], first["written"], again["rows"], again["written"], again["written_again"]) == (7, 7, 7, 0, 0)


@pytest.mark.parametrize("number", [0, 5, 6, 7])
def test_batches_of_any_size_meet_each_row_once(runtime: Runtime, engine: Engine, transact: Any, number: int) -> None:
    ids = orders(engine, number)
    assert outstanding(transact, the_rows(), batch=3).written == number
    *_, last = adopt(transact, the_rows(), batch=3)
    assert (last.rows, last.written) == (number, number)
    assert all(entries(engine, one) == [(1, "baseline", None, "draft")] for one in ids)


def test_what_the_runtime_created_needs_no_baseline_and_what_it_deleted_gets_none(
    run: CommandLine, runtime: Runtime, engine: Engine
) -> None:
    [order_id] = orders(engine, 1)
    run("db", "adopt", "order")
    runtime.execute(Erase(order_id=order_id))
    assert run("db", "adopt", "order", "--format", "json").data["written"] == 0
    assert [kind for _, kind, *_ in entries(engine, order_id)] == ["baseline", "delete"]


def test_a_dry_run_says_what_there_is_to_do_and_writes_nothing(run: CommandLine, runtime: Runtime, engine: Engine) -> None:
    orders(engine, 4)
    ran = run("db", "adopt", "order", "--dry-run")
    assert (ran.code, ran.out) == (0, "order: 4 rows looked at, 4 baselines would be written\n")
    with engine.connect() as connection:
        assert connection.execute(select(AUDIT)).all() == []


def test_what_was_stopped_half_way_goes_on(runtime: Runtime, engine: Engine, transact: Any) -> None:
    ids = orders(engine, 20)
    steps = adopt(transact, the_rows(), batch=5)
    next(steps)
    next(steps)
    del steps
    assert outstanding(transact, the_rows(), batch=5).written == 10
    *_, last = adopt(transact, the_rows(), batch=5)
    assert (last.rows, last.written) == (20, 10)
    assert all(entries(engine, one) == [(1, "baseline", None, "draft")] for one in ids)


def past_the_runtime(engine: Engine, order_id: UUID, **values: Any) -> None:
    table: Any = Order.__table__
    with engine.begin() as connection:
        connection.execute(update(table).where(table.c.id == order_id).values(**values))


@pytest.mark.parametrize(
    ("changed", "version", "trail"),
    [
        ({"status": "paid"}, 2, {"version": 1, "state": "draft", "kind": "baseline"}),
        ({"version": 9}, 9, {"version": 1, "state": "draft", "kind": "baseline"}),
        ({"version": 0, "status": "paid"}, 2, {"version": 1, "state": "draft", "kind": "baseline"}),
    ],
    ids=["state", "version", "version back"],
)
def test_a_row_that_was_changed_past_the_runtime_gets_a_further_baseline(
    run: CommandLine, runtime: Runtime, engine: Engine, changed: dict[str, Any], version: int, trail: dict[str, Any]
) -> None:
    [order_id] = orders(engine, 1)
    run("db", "adopt", "order")
    past_the_runtime(engine, order_id, **changed)
    data = run("db", "adopt", "order", "--reason", "seen in the log", "--format", "json").data
    assert (data["written"], data["written_again"], data["busy"]) == (0, 1, 0)
    assert entries(engine, order_id)[1:] == [(version, "baseline", None, changed.get("status", "draft"))]
    with engine.connect() as connection:
        entry = connection.execute(select(AUDIT).where(AUDIT.c.version == version)).one()
        assert entry.detail["trail"] == trail
        assert connection.scalar(select(Order.version)) == version
    assert run("db", "adopt", "order", "--format", "json").data["written_again"] == 0
    assert runtime.run(Annotate(order_id=order_id, note="x")).version == version + 1


def test_a_row_that_came_back_past_the_runtime_goes_on_above_its_deletion(
    run: CommandLine, runtime: Runtime, engine: Engine
) -> None:
    [order_id] = orders(engine, 1)
    run("db", "adopt", "order")
    runtime.execute(Erase(order_id=order_id))
    with Session(engine) as session, session.begin():
        session.add(Order(id=order_id, state=OrderState.PAID))
    assert run("db", "adopt", "order", "--format", "json").data["written_again"] == 1
    assert entries(engine, order_id)[1:] == [(2, "delete", "draft", None), (3, "baseline", None, "paid")]


@pytest.mark.postgresql
def test_a_changed_row_that_is_locked_is_left_to_the_next_run(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    engine = create_engine(postgres_url)
    Base.metadata.create_all(engine)
    run, where = CommandLine(capsys), ("--app", "tests.shop:app", "--url", postgres_url)
    [order_id, _] = orders(engine, 2)
    run("db", "adopt", "order", *where)
    past_the_runtime(engine, order_id, status="paid")
    with engine.begin() as connection:
        connection.execute(text("select 1 from orders for no key update"))
        ran = run("db", "adopt", "order", *where, "--format", "json")
    assert (ran.code, ran.data["busy"], ran.data["written_again"]) == (1, 1, 0)
    assert "locked by somebody; run it again" in ran.err
    assert run("db", "adopt", "order", *where, "--format", "json").data["written_again"] == 1
    engine.dispose()


def test_a_key_of_several_columns_numbers_for_states_and_a_second_lifecycle(
    run: CommandLine, runtime: Runtime, engine: Engine
) -> None:
    keys = [("a", 1), ("a", 2), ("b|\\c", 1), ("b|\\c", 22)]
    with Session(engine) as session, session.begin(), unprotected(reason="the old code"):
        session.add_all([Shelf(hall=hall, number=number, light="on") for hall, number in keys])
    assert run("db", "adopt", "shelf", "--batch", "2", "--format", "json").data["written"] == 4
    for hall, number in keys:
        runtime.execute(Fill(hall=hall, number=number))
    assert run("db", "adopt", "shelf", "--format", "json").data["written"] == 0
    assert run("db", "adopt", "shelf.lighting", "--format", "json").data["written"] == 0
    assert entries(engine, "b\\|\\\\c|22") == [(1, "baseline", None, "EMPTY"), (2, "change", "EMPTY", "FULL")]
    with engine.connect() as connection:
        changes = connection.execute(select(AUDIT.c.changes).where(AUDIT.c.kind == "baseline")).scalars().all()
    assert changes == [{"light": [None, "on"]}] * 4


def test_a_key_whose_text_only_python_knows(run: CommandLine, runtime: Runtime, engine: Engine) -> None:
    days = [datetime(2026, 5, day, 12, tzinfo=None) for day in range(1, 8)]  # noqa: DTZ001 - the column has no zone
    with Session(engine) as session, session.begin():
        session.add_all([Delivery(at=day) for day in days])
    assert run("db", "adopt", "delivery", "--batch", "3", "--format", "json").data["written"] == 7
    runtime.execute(Finish(at=days[3]))
    data = run("db", "adopt", "delivery", "--batch", "3", "--format", "json").data
    assert (data["rows"], data["written"], data["written_again"]) == (7, 0, 0)
    assert entries(engine, days[3]) == [(1, "baseline", None, "due"), (2, "change", "due", "done")]


def test_rows_of_a_subclass_are_adopted_under_its_own_lifecycle(run: CommandLine, runtime: Runtime, engine: Engine) -> None:
    with engine.begin() as connection:
        for number, kind in ((1, "parcel"), (2, "letter"), (3, "parcel")):
            connection.execute(text(f"insert into parcels values ({number}, '{kind}', 'here', 1)"))
    assert run("db", "adopt", "parcel", "--format", "json").data["written"] == 3
    runtime.execute(Send(parcel_id=2))
    data = run("db", "adopt", "parcel", "--format", "json").data
    assert (data["written"], data["written_again"]) == (0, 0)
    with engine.connect() as connection:
        found = connection.execute(
            select(AUDIT.c.aggregate_id, AUDIT.c.lifecycle, AUDIT.c.kind).order_by(AUDIT.c.aggregate_id, AUDIT.c.version)
        )
        assert [tuple(row) for row in found] == [
            ("1", "parcel", "baseline"),
            ("2", "letter", "baseline"),
            ("2", "letter", "change"),
            ("3", "parcel", "baseline"),
        ]


@pytest.mark.parametrize("number", [20_000], ids=["20000 rows"])
def test_commands_go_on_meanwhile_and_each_trail_is_whole(engine: Engine, transact: Any, number: int) -> None:
    Base.metadata.create_all(engine)
    runtime = Runtime(engine, app, limits=PATIENT)
    ids = [uuid7() for _ in range(number)]
    plain = [{"id": one.hex if engine.dialect.name == "sqlite" else one} for one in ids]
    with engine.begin() as connection:
        connection.execute(text("insert into orders (id, note, status, version) values (:id, '', 'draft', 1)"), plain)
    chosen = ids[:: number // 200]

    def commands(mine: list[UUID]) -> int:
        for count, one in enumerate(mine):
            runtime.execute(Submit(order_id=one))
            if count % 2:
                runtime.execute(Pay(order_id=one))
        return len(mine)

    def adopting() -> int:
        *_, last = adopt(transact, the_rows(), batch=1_000)
        return last.written

    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(commands, chosen[part::2]) for part in range(2)]
        written = [pool.submit(adopting) for _ in range(2)]
        assert sum(one.result() for one in working) == len(chosen)
        assert sum(one.result() for one in written) == number
    with engine.connect() as connection:
        rows = connection.execute(select(AUDIT.c.aggregate_id, AUDIT.c.version, AUDIT.c.kind)).all()
        versions = {row.id: row.version for row in connection.execute(select(Order.id, Order.version))}
        report = verify(connection, app)
    assert (report.findings, report.counted.hashed) == ((), len(rows))
    trails: dict[str, list[tuple[int, str]]] = {}
    for aggregate_id, version, kind in rows:
        trails.setdefault(aggregate_id, []).append((version, kind))
    assert Counter(kind for _, _, kind in rows)["baseline"] == number
    for one in ids:
        trail = sorted(trails[str(one)])
        assert trail[0] == (1, "baseline")
        assert [version for version, _ in trail] == list(range(1, versions[one] + 1))


def test_an_unknown_lifecycle_names_the_nearest(run: CommandLine) -> None:
    ran = run("db", "adopt", "ordr")
    assert (ran.code, ran.out) == (2, "")
    assert "error: there is no lifecycle 'ordr'\nhint: did you mean 'order'? known: delivery, order, parcel, shelf" in ran.err


def test_progress_is_told_on_a_terminal_only(
    run: CommandLine, runtime: Runtime, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders(engine, 5)
    assert "rows" not in run("db", "adopt", "order", "--batch", "2").err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    ran = run("db", "adopt", "order", "--batch", "2")
    assert "\rorder: 2 of 5 rows\rorder: 4 of 5 rows\rorder: 5 of 5 rows\r" in ran.err
    assert ran.out == "order: 5 rows looked at, 0 baselines written\n"
