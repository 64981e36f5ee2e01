"""One run of pytest: records while the tests run, adds up what workers and children recorded, draws the conclusion."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from usecasecore.coverage import children
from usecasecore.coverage.recorder import Recorder
from usecasecore.coverage.settings import Settings

if TYPE_CHECKING:
    from usecasecore.application import Application
    from usecasecore.coverage.baseline import Comparison
    from usecasecore.coverage.data import CoverageData
    from usecasecore.coverage.summary import Summary

__all__ = ["CoverageSession"]


class CoverageSession:
    """Records from `start` to `stop`.

    Attributes:
        settings: What is asked for.
        recorder: Counts what happens in this process.
        notes: What a reader of the report should know.
    """

    def __init__(self, settings: Settings, *, worker: bool = False) -> None:
        """Set it up.

        Args:
            settings: What is asked for.
            worker: Whether this process runs tests on behalf of another one, which draws the conclusion.
        """
        self.settings = settings
        self.recorder = Recorder()
        self.notes: list[str] = []
        self._worker = worker
        self._exits = ExitStack()
        self._directory: Path | None = None
        self._applications: list[Application] = []
        self._ran: set[str] = set()
        self._collected: set[str] = set()
        self._parts: list[str] = []

    def start(self) -> None:
        """Record from now on."""
        self._exits.enter_context(self.recorder.watching())
        if self._worker:
            children.stop()  # the worker is a child of its controller, too
            self._exits.enter_context(children.muted_in_forks(self.recorder))
            return
        self._directory = Path(tempfile.mkdtemp(prefix="usecasecore-coverage-"))
        self._exits.callback(shutil.rmtree, self._directory, ignore_errors=True)
        self._exits.enter_context(children.recording_children(self.recorder, self._directory, self.settings.root))

    def stop(self) -> None:
        """Record no more; safe to repeat."""
        self._exits.close()

    def import_applications(self) -> None:
        """Import the applications that the settings name.

        Raises:
            CoverageError: If there is no such thing.
        """
        if self.settings.apps:
            from usecasecore.coverage.collecting import applications_of

            self._applications = applications_of(self.settings)

    def begin_test(self, test: str) -> None:
        """A test runs from now on."""
        self._ran.add(test)
        self.recorder.begin_test(test)

    def note_collected(self, tests: Iterable[str]) -> None:
        """Take note of tests that there are, whether or not they will run."""
        self._collected.update(tests)

    def recorded_here(self) -> CoverageData:
        """Return what this process recorded."""
        from usecasecore.coverage.collecting import collected

        self.recorder.settle()
        data = collected(self.recorder, self.settings, self._applications)
        data.tests, data.collected = set(self._ran), {*self._collected, *self._ran}
        return data

    def as_text(self) -> str:
        """Return what this process recorded, for the process that it works for."""
        return json.dumps(self.recorded_here().as_json())

    def add_part(self, text: str | None, name: str) -> None:
        """Take what a worker recorded; None where it went without a word."""
        if text is None:
            self.notes.append(f"{name} ended before its time; what its tests covered is not counted")
        else:
            self._parts.append(text)

    def data(self) -> CoverageData:
        """Return what all processes recorded, and write the data file.

        Raises:
            CoverageError: If a file of an earlier run, to which this one is to be appended, doesn't fit.
            OSError: If the file can't be written.
        """
        from usecasecore.coverage.data import CoverageData, parse_data, read_data, write_data

        whole = CoverageData()
        for name, part in enumerate(self._parts):
            whole.add(parse_data(part, f"worker {name}"))
        whole.add(self.recorded_here())
        for file in children.files_of(self._directory) if self._directory else ():
            self._add_child(whole, read_data(file))
        whole.relabel(self._label())
        path = self.settings.root / self.settings.data_file
        if self.settings.append and path.exists():
            whole.add(read_data(path))
        write_data(whole, path)
        return whole

    def conclusion(self) -> Summary:
        """Write the data file; return what follows from it.

        Raises:
            CoverageError: If the baseline, or a file to append to, can't be used.
            OSError: If the file can't be written.
        """
        from usecasecore.coverage.summary import summarize

        compare = self._comparer()
        data = self.data()
        return summarize(data, self.settings, compare(data), self.notes)

    def reports(self, summary: Summary) -> list[tuple[str, list[str]]]:
        """Make the reports; return the type of each, and its lines for the terminal.

        Raises:
            CoverageError: If a report needs something that is not installed.
            OSError: If a file can't be written.
        """
        from usecasecore.coverage.reports import produced

        return [(target.type, list(produced(summary, target, self.settings.root))) for target in self.settings.report]

    def _comparer(self) -> Callable[[CoverageData], Comparison | None]:
        # Read first: the baseline may be the very file that is about to be written.
        base = self.settings.baseline
        if not base:
            return lambda _: None
        from usecasecore.coverage.baseline import baseline_data, compared

        before = baseline_data(base, self.settings.data_file, self.settings.root)
        return lambda data: compared(data, before, base, self.settings)

    def _add_child(self, whole: CoverageData, child: CoverageData) -> None:
        for key, recorded in child.lifecycles.items():
            name = recorded.declared.name
            if key in whole.lifecycles:
                whole.lifecycles[key].hits.update(recorded.hits)
            elif not whole.complete and self.settings.wants(name):
                declared = recorded.declared.without(partial(self.settings.leaves_out, name))
                whole.declare(declared).hits.update(recorded.hits)

    def _label(self) -> Callable[[str], str]:
        match self.settings.context:
            case "module":
                return lambda test: test.partition("::")[0]
            case "none":
                return lambda _: ""
            case _:
                return lambda test: test
