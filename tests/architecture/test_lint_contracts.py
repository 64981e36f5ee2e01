"""The layers of pyproject.toml hold, and would be seen not to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "pyproject.toml"

# Packages that are no dependency, and the modules that only run where they are installed.
EXTRA_IMPORTERS = {
    "aiosqlite": ("usecasecore.testing.async_engines",),
    "pytest": ("usecasecore.pytest_plugin", "usecasecore.testing"),
    "greenlet": ("usecasecore.greenlets", "usecasecore.unofficial"),
    "hypothesis": ("usecasecore.testing.machine",),
    "psycopg": ("usecasecore.unofficial",),
}

# pydantic's other half: the same project, pinned by it to one version.
PART_OF_A_DEPENDENCY = {"pydantic_core"}


def test_every_contract_is_kept() -> None:
    done = lint_imports(ROOT / "src")
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_contract_lists_an_exception() -> None:
    for contract in tomllib.loads(CONFIG.read_text())["tool"]["importlinter"]["contracts"]:
        assert not contract.get("ignore_imports"), contract["name"]


def test_an_upward_import_breaks_the_layers(tmp_path: Path) -> None:
    layers = declared_layers()
    make_package(tmp_path, layers, {layers[-1]: f"import usecasecore.{layers[0]}\n"})
    done = lint_imports(tmp_path, "--contract", "layers")
    assert done.returncode == 1
    assert f"usecasecore.{layers[-1]} is not allowed to import usecasecore.{layers[0]}" in done.stdout


def test_a_module_without_a_layer_breaks_the_layers(tmp_path: Path) -> None:
    make_package(tmp_path, [*declared_layers(), "somewhere"], {})
    done = lint_imports(tmp_path, "--contract", "layers")
    assert done.returncode == 1
    assert "somewhere" in done.stdout


def test_pytransitions_outside_its_module_breaks_the_contract(tmp_path: Path) -> None:
    layers = declared_layers()
    make_package(tmp_path, layers, {layers[-1]: "import transitions\n"})
    done = lint_imports(tmp_path, "--contract", "transitions")
    assert done.returncode == 1
    assert f"usecasecore.{layers[-1]} -> transitions" in done.stdout


def test_outside_the_integrations_only_declared_dependencies_are_imported() -> None:
    graph = grimp.build_graph("usecasecore", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None)
    dependencies = tomllib.loads(CONFIG.read_text())["project"]["dependencies"]
    declared = {re.split(r"[^\w-]", line)[0].replace("-", "_") for line in dependencies} | PART_OF_A_DEPENDENCY
    surprises = {
        f"{importer} -> {package}"
        for package in graph.modules
        if graph.is_module_squashed(package) and package not in declared | sys.stdlib_module_names
        for importer in graph.find_modules_that_directly_import(package)
        if not importer.startswith(("usecasecore.integrations", *EXTRA_IMPORTERS.get(package, ())))
    }
    assert not surprises


def lint_imports(source: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", program, "--config", str(CONFIG), "--no-cache", "--no-logo", *arguments]
    environment = os.environ | {"PYTHONPATH": str(source)}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=source, timeout=60)


def declared_layers() -> list[str]:
    contracts = tomllib.loads(CONFIG.read_text())["tool"]["importlinter"]["contracts"]
    lines = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    return [name.strip(" ()") for line in lines for name in line.replace(":", "|").split("|")]


def make_package(root: Path, modules: list[str], contents: dict[str, str]) -> None:
    package = root / "usecasecore"
    package.mkdir()
    (package / "__init__.py").touch()
    for name in modules:
        if name == "lifecycle":
            (package / name).mkdir()
            (package / name / "__init__.py").touch()
            (package / name / "machine.py").touch()
        else:
            (package / f"{name}.py").write_text(contents.get(name, ""))
