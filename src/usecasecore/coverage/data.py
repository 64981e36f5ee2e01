"""What was recorded, with the declarations it was recorded on: one file says everything, and files can be added up."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from usecasecore.coverage.declared import Declared
from usecasecore.coverage.facts import Fact, Kind
from usecasecore.errors import UseCaseError

__all__ = ["DATA_FILE", "CoverageData", "CoverageError", "Recorded", "read_data", "write_data"]

DATA_FILE = ".usecasecore-coverage"
FORMAT = "usecasecore transition coverage"
SCHEMA_VERSION = 1


class CoverageError(UseCaseError):
    """A file, an option or a setting of the transition coverage is wrong.

    Attributes:
        hint: What to do about it; may be empty.
    """

    code = "coverage_error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)


@dataclass(slots=True)
class Recorded:
    """One lifecycle: what it declares, and (fact, test) -> how often that was seen; without contexts the test is empty."""

    declared: Declared
    hits: Counter[tuple[Fact, str]] = field(default_factory=Counter)

    def tests(self, fact: Fact) -> tuple[str, ...]:
        """Return the tests in which a fact was seen, sorted."""
        return tuple(sorted(test for one, test in self.hits if one == fact and test))


@dataclass(slots=True)
class CoverageData:
    """What one run, or several, recorded.

    Attributes:
        lifecycles: By name and aggregate, in the order in which they became known.
        tests: Ids of the tests that ran, whether or not they took a transition.
        collected: Ids of the tests that there were, those that did not run included.
        complete: Whether the lifecycles are all those of named applications, and not just those that tests came upon.
    """

    lifecycles: dict[tuple[str, str], Recorded] = field(default_factory=dict)
    tests: set[str] = field(default_factory=set)
    collected: set[str] = field(default_factory=set)
    complete: bool = False

    def declare(self, declared: Declared) -> Recorded:
        """Return what is recorded for a lifecycle; nothing yet where it is new.

        Raises:
            CoverageError: If it is known already, with other states or transitions.
        """
        known = self.lifecycles.get(declared.key)
        if known is None:
            known = self.lifecycles[declared.key] = Recorded(declared)
        elif known.declared.shape != declared.shape:
            raise CoverageError(
                f"lifecycle {declared.name!r} was recorded with other states or transitions ({declared.location})",
                hint="counts of different declarations can't be added up; record them anew",
            )
        elif known.declared != declared:
            known.declared = _both(known.declared, declared)
        return known

    def add(self, other: CoverageData) -> None:
        """Add what another run recorded.

        Raises:
            CoverageError: If a lifecycle was declared in another way there.
        """
        for recorded in other.lifecycles.values():
            self.declare(recorded.declared).hits.update(recorded.hits)
        self.tests |= other.tests
        self.collected |= other.collected
        self.complete = self.complete or other.complete

    def relabel(self, label: Callable[[str], str]) -> None:
        """Give the tests in which facts were seen another name; those that then have one name are added up."""
        for recorded in self.lifecycles.values():
            renamed: Counter[tuple[Fact, str]] = Counter()
            for (fact, test), count in recorded.hits.items():
                renamed[fact, label(test)] += count
            recorded.hits = renamed

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values, in an order that does not depend on the run's."""
        contexts = {test for one in self.lifecycles.values() for _, test in one.hits}
        tests = sorted(contexts | self.tests | self.collected)
        numbers = {test: number for number, test in enumerate(tests)}
        return {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "tests": tests,
            "ran": sorted(numbers[test] for test in self.tests),
            "collected": sorted(numbers[test] for test in self.collected),
            "complete": self.complete,
            "lifecycles": [
                {**one.declared.as_json(), "hits": _hits_as_json(one.hits, numbers)} for _, one in sorted(self.lifecycles.items())
            ],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CoverageData:
        """Return what `as_json` was made of.

        Raises:
            CoverageError: If it is something else.
        """
        if value.get("format") != FORMAT:
            raise CoverageError("it is not a file of recorded transitions")
        version = value.get("schema_version")
        if version != SCHEMA_VERSION:
            raise CoverageError(
                f"its schema_version is {version!r}; this version of usecasecore reads {SCHEMA_VERSION}", hint="record it anew"
            )
        data = cls()
        try:
            tests: list[str] = list(value["tests"])
            data.tests = {tests[number] for number in value["ran"]}
            data.collected = {tests[number] for number in value["collected"]}
            data.complete = bool(value["complete"])
            for one in value["lifecycles"]:
                recorded = data.declare(Declared.from_json(one))
                for hit in one["hits"]:
                    fact = _fact(hit)
                    recorded.hits.update({(fact, tests[int(number)]): count for number, count in hit["tests"].items()})
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise CoverageError(f"it is damaged ({type(error).__name__}: {error})", hint="record it anew") from error
        return data


def read_data(path: Path) -> CoverageData:
    """Return what a file holds.

    Raises:
        CoverageError: If it is missing or can't be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CoverageError(f"there is no file {path}", hint="`pytest --transition-cov` writes it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CoverageError(f"{path} can't be read: {error}") from error
    return parse_data(text, str(path))


def parse_data(text: str, name: str) -> CoverageData:
    """Return what a file's text says.

    Args:
        text: The JSON text.
        name: What to call the file in errors.

    Raises:
        CoverageError: If it is something else.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise CoverageError(f"{name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise CoverageError(f"{name} can't be used: it is not a file of recorded transitions")
    try:
        return CoverageData.from_json(value)
    except CoverageError as error:
        raise CoverageError(f"{name} can't be used: {error}", hint=error.hint) from error


def write_data(data: CoverageData, path: Path) -> None:
    """Write a file, in one go: whoever reads it meanwhile sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{uuid4().hex}.new")
    new.write_text(json.dumps(data.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(new, path)


def combined(files: Iterable[Path]) -> CoverageData:
    """Return what several files hold, added up.

    Raises:
        CoverageError: If one of them can't be read, or knows another declaration than the others.
    """
    whole = CoverageData()
    for file in files:
        try:
            whole.add(read_data(file))
        except CoverageError as error:
            raise CoverageError(f"{file}: {error}" if str(file) not in str(error) else str(error), hint=error.hint) from error
    return whole


def _both(known: Declared, new: Declared) -> Declared:
    """Return the newer declaration, with the use cases of both: each process may have seen other applications."""
    use_cases = {one.name: one for one in (*known.use_cases, *new.use_cases)}
    return Declared(new.name, new.aggregate, new.location, new.graph, tuple(use_cases.values()), known.excluded | new.excluded)


def _hits_as_json(hits: Counter[tuple[Fact, str]], numbers: Mapping[str, int]) -> list[dict[str, Any]]:
    by_fact: dict[Fact, dict[str, int]] = {}
    for (fact, test), count in hits.items():
        by_fact.setdefault(fact, {})[str(numbers[test])] = count
    found = []
    for fact, tests in sorted(by_fact.items()):
        said = {name: str(value) for name, value in fact._asdict().items() if value}
        found.append({**said, "tests": dict(sorted(tests.items(), key=lambda one: int(one[0])))})
    return found


def _fact(hit: Mapping[str, Any]) -> Fact:
    said = {name: hit[name] for name in Fact._fields if name in hit}
    return Fact(**{**said, "kind": Kind(hit["kind"])})
