"""`usecasecore coverage`: which transitions the tests took, from the file that `pytest --transition-cov` writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usecasecore.cli.failure import Failure
from usecasecore.cli.group import group
from usecasecore.cli.options import Format, FormatOption
from usecasecore.cli.output import clean, note, print_json, print_lines

if TYPE_CHECKING:
    from usecasecore.coverage.baseline import Comparison
    from usecasecore.coverage.data import CoverageData
    from usecasecore.coverage.settings import Settings
    from usecasecore.coverage.summary import Summary

__all__ = ["commands", "recorded_coverage"]

commands = group("Which transitions the tests took, as recorded by `pytest --transition-cov`. Opens no database.")

FileOption = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="What was recorded. Else data_file in [tool.usecasecore.coverage]."),
]
CriterionOption = Annotated[
    str | None,
    typer.Option("--criterion", metavar="CRITERION", help="What counts: state, transition, guard, matrix or pair."),
]


@commands.command()
def report(
    file: FileOption = None,
    criterion: CriterionOption = None,
    fail_under: Annotated[
        float | None, typer.Option("--fail-under", metavar="N", min=0, max=100, help="Exit with 1 below N percent.")
    ] = None,
    stubs: Annotated[bool, typer.Option("--stubs", help="Show a test to start from for each one that is missing.")] = False,
    types: Annotated[
        list[str] | None,
        typer.Option("--report", metavar="TYPE[:DEST]", help="Write this instead: html, json, lcov, junit, svg, md, github."),
    ] = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Show how far each lifecycle is covered, and how to reach what is missing."""
    with _explained():
        settings = _settings(criterion, fail_under)
        summary = _summary(_read(file, settings), settings)
        if types:
            _produce(summary, types)
        elif output is Format.JSON:
            print_json(_values(summary))
        else:
            from usecasecore.coverage.reports import term

            print_lines(map(clean, term.lines(summary, with_missing=True, stubs=stubs)))
    _judge(summary)


@commands.command()
def html(
    file: FileOption = None,
    criterion: CriterionOption = None,
    directory: Annotated[str, typer.Option("-d", "--directory", metavar="DIR", help="Where to write it.")] = "transitions-html",
) -> None:
    """Write the report as one HTML page."""
    with _explained():
        settings = _settings(criterion, None)
        _produce(_summary(_read(file, settings), settings), [f"html:{directory}"])


@commands.command()
def combine(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help="What was recorded. Else every file beside the data file that is named like it."),
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Where to write what they add up to.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the files that were added up.")] = False,
) -> None:
    """Add up what several runs recorded: shards, or other machines."""
    with _explained():
        from usecasecore.coverage.data import combined, write_data

        target = file or _file(_settings(None, None))
        parts = files or sorted(target.parent.glob(f"{target.name}.*"))
        if not parts:
            raise Failure(f"there is no file {target}.*", "name the files: `usecasecore coverage combine shard-1 shard-2`")
        write_data(combined(parts), target)
        if not keep:
            for part in parts:
                if part.resolve() != target.resolve():
                    part.unlink()
    note(f"added up {len(parts)} files: {target}")


@commands.command()
def diff(
    base: Annotated[str, typer.Argument(metavar="BASE", help="A file, a revision of git, or REV:PATH.")],
    file: FileOption = None,
    criterion: CriterionOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Show what is no longer covered, and by which tests it used to be. Exits with 1 if less is covered."""
    with _explained():
        from usecasecore.coverage.baseline import baseline_data, compared

        settings = replace(_settings(criterion, None), fail_under=None, lifecycles={})
        now = _read(file, settings)
        comparison = compared(now, baseline_data(base, settings.data_file, settings.root), base, settings)
        summary = _summary(now, settings, comparison)
        if output is Format.JSON:
            print_json({"comparison": _values(summary)["comparison"]})
        else:
            print_lines(map(clean, _diff_lines(comparison)))
    if comparison.regressions or comparison.new:
        raise typer.Exit(1)


def recorded_coverage() -> CoverageData:
    """Return what the tests recorded, where the settings say that it is.

    Raises:
        Failure: If nothing was recorded, or it can't be read.
    """
    with _explained():
        return _read(None, _settings(None, None))


def _diff_lines(comparison: Comparison) -> Iterator[str]:
    from usecasecore.coverage.reports import term

    shown = list(term.comparison_lines(comparison))
    yield from shown[1:] if shown else [f"nothing that was covered in {comparison.base} is uncovered now"]
    if comparison.gained:
        yield ""
        yield f"covered since {comparison.base}"
        yield from (f"  {declared.name}: {item.key}" for declared, item in comparison.gained)


def _settings(criterion: str | None, fail_under: float | None) -> Settings:
    from usecasecore.coverage.settings import CRITERIA, chosen, read_settings

    here = Path.cwd()
    root = next((one for one in (here, *here.parents) if (one / "pyproject.toml").is_file()), here)
    settings = read_settings(root)
    if criterion is not None:
        single = {name: replace(one, criterion=None) for name, one in settings.lifecycles.items()}
        settings = replace(settings, criterion=chosen("--criterion", criterion, CRITERIA), lifecycles=single)
    return settings if fail_under is None else replace(settings, fail_under=fail_under)


def _file(settings: Settings) -> Path:
    return settings.root / settings.data_file


def _read(file: Path | None, settings: Settings) -> CoverageData:
    from usecasecore.coverage.data import read_data

    data = read_data(file or _file(settings))
    data.lifecycles = {key: one for key, one in data.lifecycles.items() if settings.wants(one.declared.name)}
    return data


def _summary(data: CoverageData, settings: Settings, comparison: Comparison | None = None) -> Summary:
    from usecasecore.coverage.summary import summarize

    return summarize(data, settings, comparison)


def _produce(summary: Summary, types: Iterable[str]) -> None:
    from usecasecore.coverage.reports import produced
    from usecasecore.coverage.settings import Target

    for text in types:
        target = Target.parse(text)
        lines = list(produced(summary, target, Path.cwd()))
        if target.path:
            note("\n".join(lines))
        else:
            print_lines(lines)


def _values(summary: Summary) -> dict[str, Any]:
    from usecasecore.coverage.reports import structured

    return structured.values(summary)


def _judge(summary: Summary) -> None:
    for sentence in summary.verdicts:
        note(sentence)
    for sentence in summary.failures:
        note(f"FAIL {sentence}")
    if summary.failures:
        raise typer.Exit(1)


@contextmanager
def _explained() -> Iterator[None]:
    from usecasecore.errors import UseCaseError

    try:
        yield
    except UseCaseError as error:
        hint = getattr(error, "hint", "")
        raise Failure(str(error), *([hint] if hint else [])) from error
    except OSError as error:
        raise Failure(f"{error.filename or 'a file'} can't be written or read: {error.strerror or error}") from error
