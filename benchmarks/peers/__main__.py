"""The ticket on other libraries, beside usecasecore: `make bench-peers`, or `python -m benchmarks.peers --help` with `.venv-peers` made."""

from __future__ import annotations

import argparse
import multiprocessing
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import databases, report
from benchmarks.measurement import Crew, Runs, Seen, interleaved, working
from benchmarks.sides import ORM, OURS
from benchmarks.table import Results, Row, Table, Value
from benchmarks.worker import Block
from tests.postgres import create_database

PYTHON = Path(".venv-peers/bin/python")


@dataclass(frozen=True, slots=True)
class Peer:
    """Another library.

    Attributes:
        does: And what it does not.
    """

    name: str
    module: str
    factory: str
    does: str

    @property
    def database(self) -> str:
        return f"peer_{self.module}_{self.factory}"


PEERS = (
    Peer(
        "usecasecore 0.1.0a3",
        "published",
        "prepare",
        "all eight steps, written by hand into its hooks with SQLAlchemy's ORM; NO new start after a conflict, hash chain or JSON schema",
    ),
    Peer(
        "eventsourcing, 10 events",
        "event_sourced",
        "short",
        "events are audit trail and outbox at once, versions are checked; NO idempotency key, row lock or row with the current state",
    ),
    Peer("eventsourcing, 1,000 events", "event_sourced", "long", "the same, on aggregates with long histories"),
    Peer("eventsourcing, 1,000 and snapshots", "event_sourced", "snapshots", "the same, with a snapshot every 100 events"),
    Peer(
        "django-fsm-2, django-fsm-log",
        "django_tickets",
        "prepare",
        "locks, asks the policy, fires, updates, logs the transition; NO idempotency key, changed values, actor's reason or outbox",
    ),
    Peer(
        "DBOS Transact",
        "dbos_workflow",
        "prepare",
        "a workflow of one transaction, recovered after a crash and run once for each id; NO audit entry of what changed, NO outbox",
    ),
    Peer(
        "Protean",
        "protean_domain",
        "prepare",
        "command, handler, aggregate with checked versions, outbox; NO audit entry or row lock, idempotency keys only with Redis; "
        "its event store, for which it wants Message DB, is in memory here and kept empty, so that it costs nothing",
    ),
)


class NotRunning(Exception):
    """A peer's first command failed; says why."""


class Guest:
    """A peer's process, from `with` to its end; its database is new."""

    def __init__(self, peer: Peer, server: str) -> None:
        self._peer = peer
        self._server = server

    def run(self, commands: int, /) -> Block:
        self._pipe.send(commands)
        block: Block = self._pipe.recv()
        return block

    def __enter__(self) -> Self:
        self._pipe, other = multiprocessing.Pipe()
        command = [str(PYTHON), "-m", "benchmarks.peers.worker", str(other.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[other.fileno()])
        other.close()
        self._pipe.send((self._peer.module, self._peer.factory, create_database(self._server, self._peer.database)))
        if (wrong := self._pipe.recv()) is not None:
            raise NotRunning(wrong)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:  # threads of its own
            self._process.kill()
            self._process.wait()


def main() -> None:
    arguments = _arguments()
    rounds, commands = (2, 10) if arguments.quick else (arguments.rounds, arguments.commands)
    machine = (*report.machine(databases.sync_milliseconds()), "peers: " + ", ".join(_pinned()))
    print("\n".join(machine), flush=True)
    with databases.postgresql() as database:
        table = compare(database, [peer for peer in PEERS if arguments.only in peer.name], rounds, commands)
    print(f"\n{table.text()}")
    if arguments.json:
        arguments.json.write_text(Results(machine, (table,)).json())


def compare(database: databases.Database, peers: list[Peer], rounds: int, commands: int) -> Table:
    """Run the peers and ours, interleaved."""
    crews: dict[str, Runs] = {ORM.name: Crew(ORM, database.url), OURS.name: Crew(OURS, database.url)}
    crews |= {peer.name: Guest(peer, database.url) for peer in peers}
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        for name, crew in list(crews.items()):
            try:
                stack.enter_context(working({name: crew}))
            except NotRunning as reason:
                missing[name] = f"does not run: {reason}"
                del crews[name]
        seen = interleaved(crews, rounds=rounds, commands=commands)
    rows = [Row(_label(name), _values(own, seen[OURS.name])) for name, own in seen.items()]
    rows += [Row(name, {"p50 us": "does not run"}) for name in missing]
    notes = [
        f"{name}: {missing.get(name, does)}"
        for name, does in [(_label(OURS.name), OURS.does), *((peer.name, peer.does) for peer in peers)]
    ]
    title = f"{database.settings}; {rounds} rounds of {commands} commands for each, interleaved, one client"
    return Table("peers", title, tuple(rows), tuple(notes))


def _values(own: Seen, ours: Seen) -> dict[str, Value]:
    values: dict[str, Value] = {"p50 us": own.latency(50), "p99 us": own.latency(99), "Python CPU us": own.cpu}
    values |= {"server CPU us": own.backend_cpu, "commands/s": own.rate}
    return values | {"usecasecore is x as fast": ours.speed_to(own)}


def _label(name: str) -> str:
    return f"usecasecore {version('usecasecore')}" if name == OURS.name else name


def _pinned() -> list[str]:
    lines = Path(__file__).with_name("requirements.txt").read_text().splitlines()
    return [line.replace("==", " ") for line in lines if line and not line.startswith("#")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="how often each side has its turn (15)")
    parser.add_argument("--commands", type=int, default=50, help="commands of a side in each round (50)")
    parser.add_argument("--only", default="", metavar="TEXT", help="peers whose name contains this")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 10 commands: to see that it runs, not to quote")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the results, for `python -m benchmarks.report FILE`")
    arguments = parser.parse_args()
    if not any(arguments.only in peer.name for peer in PEERS):
        parser.error(f"no peer has {arguments.only!r} in its name; there are {', '.join(peer.name for peer in PEERS)}")
    if not PYTHON.exists():
        parser.error(f"there is no {PYTHON}: make bench-peers makes it")
    return arguments


if __name__ == "__main__":
    main()
