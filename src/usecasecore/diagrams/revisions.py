"""The diagrams of an application as it was: from exported files, or from a revision of a git repository.

A revision is unpacked into a folder of its own, and imported there by an interpreter of its own: what runs is the code of that
revision with this installation of the library, and nothing of the working tree.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from usecasecore.diagrams.document import from_json
from usecasecore.diagrams.model import Diagram
from usecasecore.errors import DiagramError

__all__ = ["exported_diagrams", "is_export", "revision_diagrams"]

_TIMEOUT = 120.0
_LIBRARY = Path(__file__).parents[2]


def is_export(reference: str) -> bool:
    """Return whether a reference names exported JSON, a file or a folder with such files, and not a revision."""
    path = Path(reference)
    return path.is_file() or (path.is_dir() and any(path.glob("*.json")))


def exported_diagrams(reference: str) -> dict[str, Diagram]:
    """Return the diagrams in a JSON file, or in the JSON files of a folder, by the names of their lifecycles.

    Raises:
        DiagramError: If a file is no diagram.
    """
    path = Path(reference)
    found = {}
    for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
        try:
            diagram = from_json(file.read_bytes())
        except ValueError as error:
            raise DiagramError(f"{file}: {error}") from error
        found[diagram.name] = diagram
    return found


def revision_diagrams(revision: str, app: str | None, directory: Path) -> dict[str, Diagram]:
    """Return the diagrams of the application at a git revision, by the names of their lifecycles.

    Args:
        revision: What git takes for a commit or a tree.
        app: `module:attribute`; None to take what the environment or the pyproject.toml of that revision names.
        directory: Where in the repository's working tree the application is imported from.

    Raises:
        DiagramError: If git can't give the revision, or the application of that revision can't be imported.
    """
    root = Path(os.fsdecode(_git("rev-parse", "--show-toplevel", directory=directory)).strip())
    archive = _git("archive", "--format=tar", _tree(revision, directory), directory=root)
    with tempfile.TemporaryDirectory(prefix="usecasecore-diff-") as folder:
        there, output = Path(folder, "tree"), Path(folder, "diagrams")
        with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
            packed.extractall(there, filter="data")
        place = there / directory.resolve().relative_to(root.resolve())
        if not place.is_dir():
            raise DiagramError(f"revision {revision!r} has no folder {place.relative_to(there)}")
        _export(revision, app, place, output, list(_search_path(root.resolve(), there)))
        return exported_diagrams(str(output))


def _tree(revision: str, directory: Path) -> str:
    # The id, because a revision may begin like an option.
    return _git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{tree}}", directory=directory).decode().strip()


def _git(*arguments: str, directory: Path) -> bytes:
    try:
        done = subprocess.run(["git", *arguments], cwd=directory, capture_output=True, timeout=_TIMEOUT, check=False)
    except FileNotFoundError as error:
        raise DiagramError("git is not installed, and so no revision can be read") from error
    if done.returncode:
        raise DiagramError(f"git {arguments[0]}: {done.stderr.decode(errors='replace').strip() or 'failed'}")
    return done.stdout


def _search_path(root: Path, there: Path) -> Iterator[str]:
    """Yield where modules of the repository are found, as it is unpacked; this library itself is not taken from there."""
    for entry in sys.path:
        path = Path(entry or ".").resolve()
        if path != _LIBRARY and path.is_relative_to(root) and "site-packages" not in path.parts:
            yield str(there / path.relative_to(root))


def _export(revision: str, app: str | None, place: Path, output: Path, search: list[str]) -> None:
    command = [sys.executable, "-m", "usecasecore", "diagram", "export", "-f", "json", "-o", str(output)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), *search]), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, *(["--app", app] if app else [])],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.startswith(("error:", "hint:"))] or done.stderr.splitlines()[
            -1:
        ]
        raise DiagramError(f"the application of revision {revision!r} can't be read: {'; '.join(told)}")
