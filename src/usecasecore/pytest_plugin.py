"""The pytest plugin: which transitions the tests took. See `usecasecore.coverage`, which does the work.

pytest imports this in every run where usecasecore is installed, so it imports nothing at the top, and hooks into nothing
but the options until somebody asks for the coverage.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from usecasecore.coverage.session import CoverageSession
    from usecasecore.coverage.settings import Settings
    from usecasecore.coverage.summary import Summary

# The fixtures for tests of use cases, which import what they need when a test asks for them.
pytest_plugins = ["usecasecore.testing.fixtures"]

_PREFIX = "--transition-cov"
_OUTPUT = "usecasecore_coverage"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("transition-cov", "coverage of the transitions of lifecycles (usecasecore)")
    add = group.addoption
    add(
        _PREFIX,
        dest="transition_cov",
        nargs="?",
        const="",
        metavar="LIFECYCLE,..",
        help="record which transitions are committed; of these lifecycles, by default of all",
    )
    add("--no-transition-cov", action="store_true", help="don't, whatever the settings say")
    add(
        f"{_PREFIX}-report",
        action="append",
        metavar="TYPE[:DEST]",
        help="term, term-missing (default), html, json, lcov, junit, svg, md, github; may be given several times",
    )
    add(f"{_PREFIX}-fail-under", type=float, metavar="N", help="fail if less than N percent are covered")
    add(f"{_PREFIX}-criterion", metavar="CRITERION", help="what counts: state, transition (default), guard, matrix or pair")
    add(
        f"{_PREFIX}-baseline",
        metavar="FILE|GITREF",
        help="fail if less is covered than there, or something new is not; name the tests that used to cover it",
    )
    add(f"{_PREFIX}-append", action="store_true", default=None, help="add to what earlier runs recorded")
    add(
        f"{_PREFIX}-context",
        metavar="CONTEXT",
        help="note for each transition which test (default) or module took it, or none",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start recording, if that is asked for."""
    if config.getoption("no_transition_cov"):
        return
    from usecasecore.coverage.settings import SettingsError, read_settings

    try:
        settings = _asked(config, read_settings(config.rootpath))
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None
    if not settings.enabled:
        return
    from usecasecore.coverage.session import CoverageSession

    session = CoverageSession(settings, worker=hasattr(config, "workerinput"))
    session.start()
    config.add_cleanup(session.stop)
    config.pluginmanager.register(_Recording(config, session), "usecasecore-transition-cov")


def _asked(config: pytest.Config, settings: Settings) -> Settings:
    """Return the settings as the options change them.

    Raises:
        SettingsError: If an option is wrong.
    """
    from dataclasses import replace

    from usecasecore.coverage.settings import CONTEXTS, CRITERIA, SettingsError, Target, chosen

    option = config.getoption
    named: str | None = option("transition_cov")
    given: dict[str, Any] = {}
    reports: list[str] = option("transition_cov_report") or []
    if reports:
        given["report"] = tuple(map(Target.parse, reports))
    for name, choices in (("criterion", CRITERIA), ("context", CONTEXTS)):
        if (value := option(f"transition_cov_{name}")) is not None:
            given[name] = chosen(f"{_PREFIX}-{name}", value, choices)
    for name in ("fail_under", "baseline", "append"):
        if (value := option(f"transition_cov_{name}")) is not None:
            given[name] = value
    if named is None and not settings.enabled:
        if given:
            raise SettingsError(f"{_PREFIX}-{next(iter(given)).replace('_', '-')} has no effect without {_PREFIX}")
        return settings
    if named and (config.rootpath / named).exists():
        raise SettingsError(f"{_PREFIX} took {named!r} for a lifecycle; write {_PREFIX}=NAME, or put it behind the paths")
    if not 0 <= given.get("fail_under", 0) <= 100:
        raise SettingsError(f"{_PREFIX}-fail-under is {given['fail_under']:g}; a number from 0 to 100 is wanted")
    names = tuple(name.strip() for name in (named or "").split(",") if name.strip())
    return replace(settings, enabled=True, names=names, **given)


class _Recording:
    """The hooks of a run that records."""

    def __init__(self, config: pytest.Config, session: CoverageSession) -> None:
        self._config, self._session = config, session
        self._summary: Summary | None = None
        self._reports: list[tuple[str, list[str]]] = []
        self._error = ""
        self._is_worker = hasattr(config, "workerinput")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        from usecasecore.coverage.data import CoverageError

        self._session.note_collected(item.nodeid for item in session.items)
        try:
            self._session.import_applications()
        except CoverageError as error:
            if not self._is_worker:
                raise pytest.UsageError(_told(error)) from None
            self._error = _told(error)  # a usage error here would look like a defect of the worker

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self._session.note_collected(item.nodeid for item in items)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._session.begin_test(item.nodeid)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Draw the conclusion as soon as the tests have run: afterwards it could not change the exit code any more."""
        result = yield
        if not self._is_worker and not self._config.option.collectonly:
            self._conclude()
            if self._error or (self._summary is not None and self._summary.failures):
                session.testsfailed += 1
        return result

    def pytest_sessionfinish(self) -> None:
        output: dict[str, Any] | None = getattr(self._config, "workeroutput", None)
        if output is not None:
            output[_OUTPUT] = {"error": self._error} if self._error else {"recorded": self._session.as_text()}

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        output: dict[str, str] = getattr(node, "workeroutput", {}).get(_OUTPUT, {})
        if "error" in output:
            self._error = output["error"]
        else:
            self._session.add_part(output.get("recorded"), f"worker {node.gateway.id}")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._summary is None and not self._error:
            return
        terminalreporter.section("transition coverage")
        for kind, lines in self._reports:
            for line in lines:
                terminalreporter.write_line(line, **({"red": True} if kind == "error" else {}))
        for sentence in self._summary.verdicts if self._summary else ():
            terminalreporter.write_line(sentence, green=True)
        for sentence in [self._error] if self._error else self._summary.failures if self._summary else ():
            terminalreporter.write_line(f"FAIL {sentence}", red=True, bold=True)

    def _conclude(self) -> None:
        from usecasecore.errors import UseCaseError

        if self._error:
            return
        try:
            self._summary = self._session.conclusion()
            self._reports = self._session.reports(self._summary)
        except (UseCaseError, OSError) as error:
            self._error = _told(error)


def _told(error: Exception) -> str:
    hint = getattr(error, "hint", "")
    return f"{error}; {hint}" if hint else str(error)
