"""The process of a peer, in the environment of the peers: `python -m benchmarks.peers.worker FILE_DESCRIPTOR`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

from sqlalchemy import create_engine

from benchmarks.worker import Threads, serve


def main() -> None:
    pipe: Connection = Connection(int(sys.argv[1]))
    module, factory, url = pipe.recv()
    try:
        perform, ids = getattr(import_module(f"benchmarks.peers.sides.{module}"), factory)(url)
        perform(ids[0], "the first")
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        raise
    pipe.send(None)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("vacuum analyze")
    engine.dispose()
    serve(pipe, Threads(perform, 1), ids, _backend_cpu(url), module)


def _backend_cpu(url: str) -> Callable[[], float | None]:
    """Return what reads the CPU seconds of all server processes on the peer's database: how many it opens is its own affair."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    connection = engine.connect()
    query = "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"

    def read() -> float | None:
        pids = connection.exec_driver_sql(query).scalars().all()
        try:
            return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / 1e9
        except OSError:
            return None

    return read


if __name__ == "__main__":
    main()
