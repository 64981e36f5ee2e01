"""Check an application: everything that can be known to be wrong with it before it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from usecasecore.analysis import pages
from usecasecore.analysis.checks import messages, names, states, transitions, usage
from usecasecore.analysis.finding import Finding, Ignored, Report
from usecasecore.analysis.subject import Subject, subjects_of
from usecasecore.application import Application
from usecasecore.lifecycle import Lifecycle

__all__ = ["check", "examine"]

_OF_LIFECYCLES: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    states.unreachable,
    states.dead_ends,
    states.traps,
    states.left_finals,
    transitions.shadowed,
    transitions.nondeterministic,
    transitions.excluding_guards,
    transitions.idle,
    usage.unused_callbacks,
    usage.unbound,
    usage.never_run,
    names.misfits,
    names.hidden_attributes,
)
_OF_APPLICATIONS: tuple[Callable[[Application], Iterator[Finding]], ...] = (
    usage.unfired,
    messages.unsent,
    messages.actors_in_commands,
    names.clashes,
)
_IGNORES = "UCC100"


def check(application: Application, lifecycles: Iterable[str] | None = None) -> tuple[Finding, ...]:
    """Return what is wrong with an application, as far as it can be known without running it. Opens no database.

    A test of yours keeps it so: `assert check(app) == ()`.

    Args:
        application: What to look at.
        lifecycles: The names of the lifecycles to look at; by default all of them, and the application too.

    Raises:
        ValueError: If there is no lifecycle of such a name.
    """
    return examine(application, lifecycles).findings


def examine(application: Application, lifecycles: Iterable[str] | None = None) -> Report:
    """Do what `check` does; return what is ignored with a reason as well.

    Raises:
        ValueError: If there is no lifecycle of such a name.
    """
    wanted = None if lifecycles is None else set(lifecycles)
    if unknown := sorted((wanted or set()) - application.lifecycles.keys()):
        raise ValueError(f"there is no lifecycle {unknown[0]!r}; known: {', '.join(sorted(application.lifecycles))}")
    subjects = list(subjects_of(application))
    found = list(_found(application, subjects))
    ignored, left = _divided(application, subjects, found)
    left += _useless_ignores(application, subjects, ignored)
    order = {name: place for place, name in enumerate(application.lifecycles)}

    def place(finding: Finding) -> tuple[int, str, int, str]:
        location = finding.location
        rank = order.get(finding.lifecycle or "", len(order))
        return rank, location.file if location else "", location.line if location else 0, finding.code

    def is_wanted(finding: Finding) -> bool:
        return wanted is None or finding.lifecycle in wanted

    return Report(tuple(sorted(filter(is_wanted, left), key=place)), tuple(one for one in ignored if is_wanted(one.finding)))


def _found(application: Application, subjects: list[Subject]) -> Iterator[Finding]:
    seen = set()
    every = [finding for subject in subjects for look in _OF_LIFECYCLES for finding in look(subject)]
    every += [finding for look in _OF_APPLICATIONS for finding in look(application)]
    for finding in every:
        # A subclass has a copy of its base's lifecycle: what is wrong with both is told once.
        told = (finding.code, finding.location, finding.cause)
        if told not in seen:
            seen.add(told)
            yield finding


def _divided(application: Application, subjects: list[Subject], found: list[Finding]) -> tuple[list[Ignored], list[Finding]]:
    reasons = {subject.lifecycle.name: subject.lifecycle.declaration.ignore for subject in subjects}
    ignored, left = [], []
    for finding in found:
        asked = application.ignore if finding.lifecycle is None else reasons.get(finding.lifecycle, {})
        if finding.code in asked:
            ignored.append(Ignored(finding, asked[finding.code]))
        else:
            left.append(finding)
    return ignored, left


def _useless_ignores(application: Application, subjects: list[Subject], ignored: list[Ignored]) -> Iterator[Finding]:
    """UCC100: a code that is ignored though nothing is found, or that no check has."""
    used = {(one.finding.lifecycle, one.finding.code) for one in ignored}
    by_declaration: dict[object, list[Lifecycle]] = {}
    for subject in subjects:
        by_declaration.setdefault(subject.lifecycle.location, []).append(subject.lifecycle)
    for copies in by_declaration.values():
        first = copies[0]
        for code in first.declaration.ignore:
            if not any((one.name, code) in used for one in copies):
                yield Finding(_IGNORES, first.name, first.location, *_useless(code, "this lifecycle"))
    for code in application.ignore:
        if (None, code) not in used:
            yield Finding(_IGNORES, None, None, *_useless(code, f"the application {application.name!r} beside its lifecycles"))


def _useless(code: str, where: str) -> tuple[str, str]:
    if code not in pages.codes():
        return f"`ignore` names {code!r}, which no check has.", f"The codes are {', '.join(pages.codes())}."
    return f"{code} is ignored for {where}, but nothing of that code is found.", "Leave it out of `ignore`."
