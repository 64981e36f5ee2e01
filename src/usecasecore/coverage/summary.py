"""The conclusion: how far each lifecycle is covered, what is missing, and whether that is enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from usecasecore.coverage.baseline import Comparison
from usecasecore.coverage.criteria import Criterion, Measured, measure
from usecasecore.coverage.data import CoverageData, Recorded
from usecasecore.coverage.missing import Missing, missing
from usecasecore.coverage.settings import Settings

__all__ = ["Count", "Line", "Summary", "percent_text", "summarize"]


@dataclass(frozen=True, slots=True)
class Count:
    """So many of so many."""

    covered: int
    total: int

    @property
    def percent(self) -> str:
        """The percentage in words."""
        return percent_text(self.covered, self.total)

    def __str__(self) -> str:
        return f"{self.covered}/{self.total}"


@dataclass(frozen=True, slots=True)
class Line:
    """One lifecycle.

    Attributes:
        title: Its name; with the class where several have the same.
        measured: Under the criterion that it is judged by.
        counts: Under each criterion; of guards, the ways they went.
        missing: What is not covered.
    """

    title: str
    recorded: Recorded
    measured: Measured
    counts: Mapping[Criterion, Count]
    missing: tuple[Missing, ...]

    @property
    def count(self) -> Count:
        """What decides."""
        return Count(self.measured.covered, self.measured.total)


@dataclass(frozen=True, slots=True)
class Summary:
    """All of them.

    Attributes:
        criterion: The one that counts where none is set for a lifecycle.
        lines: By name.
        comparison: With the baseline; None where there is none.
        verdicts: What was asked for and reached, one sentence each.
        failures: What was asked for and not reached, one sentence each.
        notes: What a reader should know about how the record came about.
    """

    criterion: Criterion
    lines: tuple[Line, ...]
    comparison: Comparison | None
    verdicts: tuple[str, ...]
    failures: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> Count:
        """The items of all lifecycles."""
        return Count(sum(line.measured.covered for line in self.lines), sum(line.measured.total for line in self.lines))


def summarize(data: CoverageData, settings: Settings, comparison: Comparison | None = None, notes: Iterable[str] = ()) -> Summary:
    """Return the conclusion about what was recorded."""
    names = [recorded.declared.name for recorded in data.lifecycles.values()]
    lines = []
    for _, recorded in sorted(data.lifecycles.items()):
        declared = recorded.declared
        title = declared.name if names.count(declared.name) == 1 else f"{declared.name} ({declared.aggregate})"
        measured = measure(recorded, Criterion(settings.criterion_of(declared.name)))
        lines.append(Line(title, recorded, measured, _counts(recorded), missing(recorded, measured)))
    verdicts, failures = _judged(lines, settings)
    if comparison is not None:
        failures += _regressed(comparison)
    failures += [f"{sentence}; named by an option or by the settings" for sentence in settings.unknown(names)]
    return Summary(Criterion(settings.criterion), tuple(lines), comparison, tuple(verdicts), tuple(failures), tuple(notes))


def percent_text(covered: int, total: int) -> str:
    """Return a percentage with at most two decimals, rounded down: what is not reached is never shown as reached."""
    hundredths = 10_000 * covered // total if total else 10_000
    text = f"{hundredths // 100}.{hundredths % 100:02d}".rstrip("0").rstrip(".")
    return f"{text}%"


def _counts(recorded: Recorded) -> dict[Criterion, Count]:
    found = {}
    for criterion in Criterion:
        measured = measure(recorded, criterion)
        found[criterion] = Count(measured.covered, measured.total)
    # In the table a guard's two ways stand beside the transitions: those without guards are not counted again.
    guarded = [
        item for item in measure(recorded, Criterion.GUARD).items if item.edge and (item.edge.conditions or item.edge.unless)
    ]
    found[Criterion.GUARD] = Count(sum(item.covered for item in guarded), len(guarded))
    return found


def _judged(lines: list[Line], settings: Settings) -> tuple[list[str], list[str]]:
    verdicts: list[str] = []
    failures: list[str] = []

    def judge(what: str, wanted: float, count: Count, total: str) -> None:
        reached = count.total > 0 and 100 * count.covered >= wanted * count.total
        sentence = f"Required transition coverage of {wanted:g}%{what} {'reached' if reached else 'not reached'}. {total}"
        (verdicts if reached else failures).append(sentence)

    if settings.fail_under is not None:
        whole = Count(sum(line.measured.covered for line in lines), sum(line.measured.total for line in lines))
        told = f"Total transition coverage: {whole.percent}" if lines else "No lifecycle was found"
        judge("", settings.fail_under, whole, told)
    for line in lines:
        wanted = settings.of(line.recorded.declared.name).fail_under
        if wanted is not None:
            judge(f" for {line.title}", wanted, line.count, f"Coverage: {line.count.percent}")
    return verdicts, failures


def _regressed(comparison: Comparison) -> list[str]:
    found = []
    if comparison.regressions:
        found.append(f"Less is covered than in {comparison.base}: {_few([one.item.key for one in comparison.regressions])}")
    if comparison.new:
        found.append(f"Declared since {comparison.base} and not covered: {_few([item.key for _, item in comparison.new])}")
    return found


def _few(keys: list[str]) -> str:
    shown = "; ".join(keys[:3])
    return shown if len(keys) <= 3 else f"{shown}; and {len(keys) - 3} more"
