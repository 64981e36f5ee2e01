"""Settings: what the options of pytest and `[tool.usecasecore.coverage]` ask for. Imports nothing that is slow to import."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from usecasecore.errors import UseCaseError

__all__ = [
    "CONTEXTS",
    "CRITERIA",
    "REPORTS",
    "LifecycleSettings",
    "Settings",
    "SettingsError",
    "Target",
    "chosen",
    "read_settings",
]

CRITERIA = ("state", "transition", "guard", "matrix", "pair")
CONTEXTS = ("test", "module", "none")
REPORTS = {
    "term": "",
    "term-missing": "",
    "html": "transitions-html",
    "json": "transitions.json",
    "lcov": "transitions.lcov",
    "junit": "transitions-junit.xml",
    "svg": "transitions-svg",
    "md": "transitions.md",
    "github": "",
}
"""Type of a report -> where it goes if nobody says so; empty for those that go to the terminal."""

_TABLE = "[tool.usecasecore.coverage]"


class SettingsError(UseCaseError):
    """An option or a setting of the transition coverage is wrong."""

    code = "coverage_settings"


@dataclass(frozen=True, slots=True)
class Target:
    """A report that is asked for.

    Attributes:
        type: One of `REPORTS`.
        path: Where to write it, as seen from the project's directory; empty for the terminal.
    """

    type: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read `TYPE[:DEST]`.

        Raises:
            SettingsError: If there is no such type, or if it takes no destination.
        """
        name, colon, path = text.partition(":")
        if name not in REPORTS:
            raise SettingsError(f"there is no report {name!r}{_nearest(name, REPORTS)}")
        if colon and (not path or not REPORTS[name]):
            wanted = f"write {name}:DEST or {name}" if REPORTS[name] else f"{name} goes to the terminal, write {name} alone"
            raise SettingsError(f"{text!r} names no place to write to; {wanted}")
        return cls(name, path or REPORTS[name])


@dataclass(frozen=True, slots=True)
class LifecycleSettings:
    """What is asked of one lifecycle; None where it is what is asked of all."""

    fail_under: float | None = None
    criterion: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is asked for.

    Attributes:
        root: The project's directory.
        names: Patterns; only lifecycles that fit one of them. Empty for all.
        fail_under: The percentage that must be reached in all; None where none must.
        exclude: Patterns of what is left out: lifecycles, or transitions as `lifecycle:trigger`.
        apps: `module:attribute` of each application whose lifecycles are to be covered; empty where it is those that are used.
        baseline: A file, or a revision of git; empty where there is none.
        context: Of what to note for each transition that took it: `test`, `module` or `none`.
        data_file: As seen from the project's directory.
        lifecycles: What is asked of single ones, by name.
    """

    root: Path
    enabled: bool = False
    names: tuple[str, ...] = ()
    criterion: str = "transition"
    fail_under: float | None = None
    report: tuple[Target, ...] = (Target("term-missing", ""),)
    exclude: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    baseline: str = ""
    append: bool = False
    context: str = "test"
    data_file: str = ".usecasecore-coverage"
    lifecycles: Mapping[str, LifecycleSettings] = field(default_factory=dict)

    def of(self, lifecycle: str) -> LifecycleSettings:
        """Return what is asked of one lifecycle."""
        return self.lifecycles.get(lifecycle, LifecycleSettings())

    def criterion_of(self, lifecycle: str) -> str:
        """Return what is counted for a lifecycle."""
        return self.of(lifecycle).criterion or self.criterion

    def wants(self, lifecycle: str) -> bool:
        """Say whether a lifecycle is to be covered."""
        named = not self.names or any(fnmatchcase(lifecycle, pattern) for pattern in self.names)
        return named and not any(fnmatchcase(lifecycle, pattern) for pattern in self.exclude)

    def leaves_out(self, lifecycle: str, trigger: str) -> bool:
        """Say whether the transitions of a trigger are left out."""
        return any(fnmatchcase(f"{lifecycle}:{trigger}", pattern) for pattern in self.exclude if ":" in pattern)

    def unknown(self, declared: Iterable[str]) -> list[str]:
        """Return a sentence for each lifecycle that is named but doesn't exist."""
        known = sorted(declared)
        named = [name for name in self.names if not any(fnmatchcase(one, name) for one in known)]
        named += [name for name in self.lifecycles if name not in known]
        return [f"there is no lifecycle {name!r}{_nearest(name, known)}" for name in dict.fromkeys(named)]


def read_settings(root: Path) -> Settings:
    """Return what the project's pyproject.toml says; the defaults where it says nothing.

    Raises:
        SettingsError: If it can't be read, or says something that is not known.
    """
    file = root / "pyproject.toml"
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return Settings(root=root)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} can't be read: {error}") from error
    if "usecasecore" not in text:  # most projects in which this plugin is only installed
        return Settings(root=root)
    try:
        table = tomllib.loads(text).get("tool", {}).get("usecasecore", {})
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} can't be read: {error}") from error
    app = table.get("app") if isinstance(table, dict) else None
    own = table.get("coverage", {}) if isinstance(table, dict) else {}
    try:
        settings = _read(own, Settings(root=root))
    except SettingsError as error:
        raise SettingsError(f"{file}: {error}") from None
    return settings if settings.apps or not isinstance(app, str) else replace(settings, apps=(app,))


def chosen(what: str, value: Any, choices: Iterable[str]) -> str:
    """Return a value that is one of the choices.

    Raises:
        SettingsError: If it is none; with the nearest.
    """
    if value not in choices:
        raise SettingsError(f"{what} is {value!r}{_nearest(value, choices)}")
    return str(value)


_NAMES = {
    "enabled": bool,
    "criterion": str,
    "fail_under": float,
    "report": list,
    "exclude": list,
    "app": list,
    "baseline": str,
    "append": bool,
    "context": str,
    "data_file": str,
    "lifecycles": dict,
}
_OF_ONE = {"fail_under": float, "criterion": str}
_FORMS = {
    bool: "true or false",
    str: "a text",
    float: "a number from 0 to 100",
    list: "a text, or a list of texts",
    dict: "a table for each lifecycle",
}


def _read(table: Any, settings: Settings) -> Settings:
    values = _checked(table, _NAMES, _TABLE)
    values.pop("lifecycles", None)
    reports, apps = values.pop("report", None), values.pop("app", None)
    if reports is not None:
        values["report"] = tuple(Target.parse(one) for one in reports)
    if apps is not None:
        values["apps"] = apps
    values["lifecycles"] = {
        name: LifecycleSettings(**_checked(one, _OF_ONE, f"{_TABLE[:-1]}.lifecycles.{name}]"))
        for name, one in table.get("lifecycles", {}).items()
    }
    return replace(settings, **values)


def _checked(table: Any, names: Mapping[str, type], place: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise SettingsError(f"{place} is {table!r}, not a table")
    found = {}
    for name, value in table.items():
        if name not in names:
            raise SettingsError(f"{place} has an unknown key {name!r}{_nearest(name, names)}")
        found[name] = _value(name, value, names[name], place)
    return found


def _value(name: str, value: Any, kind: type, place: str) -> Any:
    if kind is list:
        several = [value] if isinstance(value, str) else value
        if isinstance(several, list) and all(isinstance(one, str) for one in several):
            return tuple(several)
    elif kind is float:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100:
            return float(value)
    elif isinstance(value, kind):
        choices = {"criterion": CRITERIA, "context": CONTEXTS}.get(name)
        return value if choices is None else chosen(f"{place} {name}", value, choices)
    raise SettingsError(f"{place} {name} is {value!r}; {_FORMS[kind]} is wanted")


def _nearest(name: object, known: Iterable[str]) -> str:
    names = list(known)
    close = get_close_matches(str(name), names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {', '.join(repr(one) for one in names)}" if names else "; there is none"
