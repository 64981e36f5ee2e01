"""Run an order through its life on a new SQLite file, and show what that leaves: `python -m examples.orders.demo`."""

from __future__ import annotations

import sys
import tempfile
from decimal import Decimal
from pathlib import Path

from sqlalchemy import Engine, create_engine, select

from examples.orders.app import app
from examples.orders.model import Base, Order
from examples.orders.use_cases import AddLine, Cancel, CreateOrder, Pay, SendReceipt, StartFulfilment, Submit
from usecasecore import Actor, Rejected, Runtime
from usecasecore.ledger import ledger_tables
from usecasecore.relay import JobHandlers, OutgoingMessage, Relay

ADA = Actor("user", "ada")


def main() -> None:
    """Print the demo."""
    with tempfile.TemporaryDirectory(prefix="usecasecore-demo-") as folder:
        engine = create_engine(f"sqlite:///{Path(folder, 'orders.db')}")
        Base.metadata.create_all(engine)
        try:
            show(engine)
        finally:
            engine.dispose()


def show(engine: Engine) -> None:
    """Run the use cases on the engine, and print what happens."""
    runtime = Runtime(engine, app, create=True)

    title("The lifecycle, from the declaration that runs")
    lifecycle_as_text()

    title("Commands, each in one transaction")
    order_id = runtime.execute(CreateOrder(customer="Grace"), actor=ADA).order_id
    say(f"created  order {order_id}")
    refused(runtime, Submit(order_id=order_id))
    runtime.execute(AddLine(order_id=order_id, article="lamp", quantity=2, unit_price=Decimal("19.90")), actor=ADA)
    say("added    2 lamps at 19.90 EUR")
    result = runtime.execute(Submit(order_id=order_id), actor=ADA, idempotency_key="submit-1")
    say(f"result   {result!r}")

    title("The same command again, under the same idempotency key: replayed, not repeated")
    outcome = runtime.run(Submit(order_id=order_id), actor=ADA, idempotency_key="submit-1")
    say(f"replayed={outcome.replayed}  same result={outcome.result == result}  version={outcome.version}")

    title("What is not possible is refused, with its reason, and changes nothing")
    refused(runtime, StartFulfilment(order_id=order_id))
    refused(runtime, Pay(order_id=order_id, amount=Decimal(1), card_token="tok_4242"))
    refused(runtime, Cancel(order_id=order_id))

    runtime.execute(Pay(order_id=order_id, amount=Decimal("39.80"), card_token="tok_4242"), actor=ADA, reason="invoice 7")
    runtime.execute(StartFulfilment(order_id=order_id), actor=ADA)

    title("The audit trail, written in the same transactions")
    audit_trail(engine)
    title("Events and jobs, waiting for delivery")
    outbox(engine)
    title("The relay delivers them after the commit, the events in order")
    deliver(engine)


def refused(runtime: Runtime, command: Submit | StartFulfilment | Pay | Cancel) -> None:
    """Run a command that is going to be refused, and print why."""
    try:
        runtime.execute(command, actor=ADA)
    except Rejected as refusal:
        say(f"refused  [{refusal.code}] {refusal}")
    else:
        sys.exit(f"{command!r} should have been refused")


def lifecycle_as_text() -> None:
    """Print the lifecycle: what can be declared can be shown."""
    graph = Order.lifecycle.graph
    say(f"{'[new]':<20} --{'create':-<16}> {graph.initial}")
    for edge in graph.edges:
        guards = f"  if {', '.join(edge.conditions)}" if edge.conditions else ""
        say(f"{edge.source:<20} --{edge.trigger:-<16}> {edge.dest or '(stays)'}{guards}")


def audit_trail(engine: Engine) -> None:
    """Print who did what, in order."""
    audit = ledger_tables().audit
    with engine.connect() as connection:
        for row in connection.execute(select(audit).order_by(audit.c.version)):
            change = f"{row.from_state or '[new]'} -> {row.to_state}"
            say(f"v{row.version}  {row.actor:<9} {row.use_case:<21} {change:<32} {row.reason or ''}")


def outbox(engine: Engine) -> None:
    """Print what is to be delivered."""
    table = ledger_tables().outbox
    with engine.connect() as connection:
        for row in connection.execute(select(table).order_by(table.c.version, table.c.ordinal)):
            say(f"v{row.version}.{row.ordinal}  {row.kind:<6} {row.type:<34} {row.payload}")


def deliver(engine: Engine) -> None:
    """Drain the outbox: publish the events, here by printing them, and run the jobs."""
    handlers = JobHandlers()
    handlers.register(SendReceipt, lambda job: say(f"ran        receipt for {job.amount} EUR"))
    report = Relay(engine, publish, handlers).drain()
    say(f"report     {report.published} events published, {report.jobs_run} job run, {report.failed} failed, {report.left} left")


def publish(message: OutgoingMessage) -> None:
    """Take an event: a broker, a webhook or a log would stand here."""
    say(f"published  v{message.version}.{message.ordinal}  {message.type}")


def title(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}\n{'-' * len(text)}")


def say(text: str) -> None:
    """Print a line."""
    print(f"  {text}")


if __name__ == "__main__":
    main()
