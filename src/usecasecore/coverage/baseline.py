"""Comparing with an earlier record: what used to be covered and no longer is, and by which test it used to be."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from usecasecore.coverage.criteria import Criterion, Item, measure
from usecasecore.coverage.data import CoverageData, CoverageError, Recorded, parse_data, read_data
from usecasecore.coverage.declared import Declared
from usecasecore.coverage.settings import Settings

__all__ = ["Comparison", "FormerTest", "Regression", "baseline_data", "compared"]


@dataclass(frozen=True, slots=True)
class FormerTest:
    """A test that used to cover something.

    Attributes:
        fate: `deleted`, `no longer takes it`, or `did not run`.
    """

    name: str
    fate: str

    def __str__(self) -> str:
        return f"{self.name}, {self.fate}"


@dataclass(frozen=True, slots=True)
class Regression:
    """Something that was covered and no longer is.

    Attributes:
        declared: The lifecycle; as it was, where it is gone.
        item: As it is now.
        tests: The tests that used to cover it, the deleted ones first; none where contexts were not recorded.
    """

    declared: Declared
    item: Item
    tests: tuple[FormerTest, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A record beside an earlier one.

    Attributes:
        base: What the earlier one is called.
        regressions: What is no longer covered.
        new: What was declared since and is not covered.
        gained: What is covered now and was not.
    """

    base: str
    regressions: tuple[Regression, ...]
    new: tuple[tuple[Declared, Item], ...]
    gained: tuple[tuple[Declared, Item], ...]


def baseline_data(base: str, data_file: str, root: Path) -> CoverageData:
    """Return an earlier record: of a file, or of the data file (or `REV:PATH`) at a revision of git.

    Raises:
        CoverageError: If it is neither.
    """
    file = root / base
    if file.is_file():
        return read_data(file)
    revision, colon, path = base.partition(":")
    wanted = f"{revision}:{path if colon else f'./{data_file}'}"
    try:
        done = subprocess.run(["git", "show", "--end-of-options", wanted], cwd=root, capture_output=True, check=False)
    except OSError as error:
        raise CoverageError(f"there is no file {base}, and git can't be run: {error}") from error
    if done.returncode != 0:
        told = done.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise CoverageError(
            f"the baseline {base!r} is neither a file nor a revision of git that holds {wanted.partition(':')[2]} ({told})",
            hint=f"commit {data_file}, or name the file of an earlier run; REV:PATH names another one at a revision",
        )
    return parse_data(done.stdout.decode(errors="replace"), wanted)


def compared(now: CoverageData, before: CoverageData, base: str, settings: Settings) -> Comparison:
    """Return what became of what was covered.

    Args:
        now: The newer record.
        before: The older one.
        base: What to call it.
        settings: What is counted, for which lifecycles.
    """
    regressions: list[Regression] = []
    new: list[tuple[Declared, Item]] = []
    gained: list[tuple[Declared, Item]] = []
    for key, recorded in _both(now, before, settings):
        criterion = Criterion(settings.criterion_of(recorded.declared.name))
        old = {item.key: item for item in measure(before.lifecycles[key], criterion).items} if key in before.lifecycles else {}
        for item in measure(recorded, criterion).items:
            was = old.get(item.key)
            if item.covered:
                if was is None or not was.covered:
                    gained.append((recorded.declared, item))
            elif was is None:
                new.append((recorded.declared, item))
            elif was.covered:
                regressions.append(Regression(recorded.declared, item, _former(was, now, settings.root)))
    return Comparison(base, tuple(regressions), tuple(new), tuple(gained))


def _both(now: CoverageData, before: CoverageData, settings: Settings) -> Iterator[tuple[tuple[str, str], Recorded]]:
    yield from now.lifecycles.items()
    if not now.complete:
        # Nobody says which lifecycles there are: one that no test comes upon any more has not been given up for that.
        for key, recorded in before.lifecycles.items():
            if key not in now.lifecycles and settings.wants(recorded.declared.name):
                yield key, Recorded(recorded.declared)


def _former(item: Item, now: CoverageData, root: Path) -> tuple[FormerTest, ...]:
    files = {test.partition("::")[0] for test in now.collected}
    found = [FormerTest(test, _fate(test, now, files, root)) for test in item.tests]
    return tuple(sorted(found, key=lambda one: (one.fate != "deleted", one.fate, one.name)))


def _fate(test: str, now: CoverageData, files: set[str], root: Path) -> str:
    file = test.partition("::")[0]
    if test in now.tests or (test == file and any(one.startswith(f"{file}::") for one in now.tests)):
        return "no longer takes it"
    if test in now.collected:
        return "did not run"
    return "deleted" if file in files or not (root / file).exists() else "did not run"
