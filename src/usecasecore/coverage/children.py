"""Processes that tests start: each records for itself and leaves a file where the run of pytest picks it up.

How it works: the run names a directory in the environment. A process that imports usecasecore finds it there and watches
too; one that was forked begins anew in the child. Its file is written again whenever there is news, and not only at its
end: tests kill processes, and a fork ends without saying goodbye.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from usecasecore.coverage.recorder import Recorder

__all__ = ["VARIABLE", "files_of", "muted_in_forks", "recording_children", "start", "stop"]

VARIABLE = "USECASECORE_COVERAGE"
_DESCRIPTION = "run.json"


class _Child:
    """The recorder of this process, and its file."""

    def __init__(self, directory: Path) -> None:
        description = json.loads((directory / _DESCRIPTION).read_text(encoding="utf-8"))
        self._root = Path(description["root"])
        self._file = directory / f"{os.getpid()}-{uuid4().hex}.json"
        self.recorder = Recorder(on_news=self.save)
        self.recorder.begin_test(_current_test())
        self._watching: AbstractContextManager[None] = self.recorder.watching()
        self._watching.__enter__()
        atexit.register(self.save)

    def save(self) -> None:
        # Not at the top: a process that runs no command needs none of it.
        from usecasecore.coverage.collecting import collected
        from usecasecore.coverage.data import CoverageError, write_data
        from usecasecore.coverage.settings import Settings

        if not self.recorder.hits or not self._file.parent.is_dir():  # the run is over, and this process outlives it
            return
        # It is called in the middle of somebody's command, which must not fail for it.
        with suppress(OSError, CoverageError):
            write_data(collected(self.recorder, Settings(root=self._root), []), self._file)

    def stop(self) -> None:
        atexit.unregister(self.save)
        self._watching.__exit__(None, None, None)
        self._file.unlink(missing_ok=True)


_child: _Child | None = None
_parents: list[Recorder] = []
_forks_watched = False


def start() -> None:
    """Record in this process, if the environment asks for it. Called when usecasecore is imported; safe to repeat."""
    global _child  # noqa: PLW0603 - one for the process, as the environment is
    directory = os.environ.get(VARIABLE, "")
    if _child is None and directory and (Path(directory) / _DESCRIPTION).is_file():
        _child = _Child(Path(directory))
        _watch_forks()


def stop() -> None:
    """Record no more, and leave no file: somebody else records in this process."""
    global _child  # noqa: PLW0603 - likewise
    if _child is not None:
        _child.stop()
        _child = None


@contextmanager
def recording_children(recorder: Recorder, directory: Path, root: Path) -> Iterator[None]:
    """Have the processes that are started meanwhile record into a directory.

    Args:
        recorder: That of this process, which a forked child must not go on with.
        directory: Exists already.
        root: The project's directory.
    """
    (directory / _DESCRIPTION).write_text(json.dumps({"root": str(root)}), encoding="utf-8")
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(directory)
    with muted_in_forks(recorder):
        try:
            yield
        finally:
            if before is None:
                del os.environ[VARIABLE]
            else:
                os.environ[VARIABLE] = before


@contextmanager
def muted_in_forks(recorder: Recorder) -> Iterator[None]:
    """Have a recorder fall silent in forked children, which have one of their own."""
    _watch_forks()
    _parents.append(recorder)
    try:
        yield
    finally:
        _parents.remove(recorder)


def _watch_forks() -> None:
    global _forks_watched  # noqa: PLW0603 - what is registered for forks can't be taken back
    if not _forks_watched and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_begin_anew)
        _forks_watched = True


def _begin_anew() -> None:
    # Their locks may be held by threads that don't exist here: neither ask them nor take them off.
    global _child  # noqa: PLW0603 - likewise
    for recorder in _parents:
        recorder.muted = True
    if _child is not None:
        _child.recorder.muted = True
        atexit.unregister(_child.save)
        _child = None
    start()


def files_of(directory: Path) -> list[Path]:
    """Return what the children have left."""
    return sorted(path for path in directory.glob("*.json") if path.name != _DESCRIPTION)


def _current_test() -> str:
    # pytest's own note for those who look at a process from outside: `tests/test_a.py::test_b (call)`.
    return os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
