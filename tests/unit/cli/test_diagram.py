from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.command_line import CommandLine
from tests.unit.cli.conftest import SAMPLE
from tests.unit.cli.sample_app import app
from usecasecore.diagrams import DiagramFormat, diagram_of, digest, render, rendering
from usecasecore.diagrams.formats import shown_by, stamped_digest


def test_the_diagrams_are_written_into_a_folder_and_their_paths_printed(run: CommandLine, nowhere: Path) -> None:
    ran = run("diagram", "export", "--app", SAMPLE)
    assert (ran.code, ran.out) == (0, "diagrams/order.mmd\n")
    assert "stateDiagram-v2" in (nowhere / "diagrams" / "order.mmd").read_text()


def test_several_formats_are_written_beside_each_other(run: CommandLine, nowhere: Path) -> None:
    ran = run("diagram", "export", "order", "-f", "dot,json", "-o", "out", "--format", "json", "--app", SAMPLE)
    assert ran.data == {"schema_version": 1, "written": ["out/order.dot", "out/order.json"]}
    assert sorted(path.name for path in (nowhere / "out").iterdir()) == ["order.dot", "order.json"]


def test_the_name_of_a_file_says_its_format(run: CommandLine, nowhere: Path) -> None:
    assert run("diagram", "export", "order", "-o", "deep/picture.puml", "--app", SAMPLE).code == 0
    assert (nowhere / "deep" / "picture.puml").read_text().startswith("@startuml")


def test_a_hyphen_prints_the_diagram_as_it_is(run: CommandLine) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "usecasecore", "diagram", "export", "-f", "dot", "-o", "-", "--app", SAMPLE],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, render(diagram_of(app.lifecycles["order"], app), DiagramFormat.DOT))


def test_detail_leaves_out_what_it_says(run: CommandLine, nowhere: Path) -> None:
    run("diagram", "export", "--detail", "states", "--app", SAMPLE)
    assert "submit" not in (nowhere / "diagrams" / "order.mmd").read_text().replace("submitted", "")


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["ordr"], "there is no lifecycle 'ordr'", "did you mean 'order'? known: order"),
        (["-f", "jpeg"], "there is no format 'jpeg'", "known: dot, json, md, mermaid, pdf, plantuml, png, scxml, svg"),
        (
            ["-f", "dot", "-o", "order.svg"],
            "order.svg is the name of svg, and -f asks for dot",
            "no format is written under another's name",
        ),
        (
            ["-f", "dot,json", "-o", "-"],
            "standard output takes one diagram in one format, not 1 in 2",
            "or give a folder: -o diagrams",
        ),
        (["-o", "order.txt"], "the name order.txt says no format", "pass -f, or end it in one of .dot .mmd"),
        (["--check", "-o", "-"], "--check compares files, and - is none", "give the folder or file"),
    ],
)
def test_what_can_not_be_done_is_said(run: CommandLine, nowhere: Path, arguments: list[str], error: str, hint: str) -> None:
    ran = run("diagram", "export", *arguments, "--app", SAMPLE)
    assert (ran.code, ran.out) == (2, "")
    assert f"error: {error}" in ran.err
    assert hint in ran.err
    assert list(nowhere.iterdir()) == []


@pytest.mark.parametrize("target", ["svg", "png", "pdf"])
def test_without_graphviz_both_ways_out_are_named_and_nothing_is_written(
    run: CommandLine, nowhere: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setenv("PATH", str(nowhere))
    monkeypatch.setattr(rendering, "_WHEEL", "no-such-wheel")
    ran = run("diagram", "export", "-f", f"mermaid,{target}", "--app", SAMPLE)
    assert (ran.code, ran.out) == (2, "")
    assert "is drawn by Graphviz, and none is installed" in ran.err
    assert "hint: install Graphviz (https://graphviz.org/download/), so that `dot` is on the PATH" in ran.err
    assert ('hint: run `pip install "usecasecore[diagrams]"`' in ran.err) is (target != "pdf")
    assert list(nowhere.iterdir()) == []


def test_the_check_is_silent_about_what_is_up_to_date(run: CommandLine) -> None:
    run("diagram", "export", "--app", SAMPLE)
    ran = run("diagram", "export", "--check", "--app", SAMPLE)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.endswith("the diagrams are up to date\n")


def test_the_check_needs_no_graphviz(run: CommandLine, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(nowhere))
    monkeypatch.setattr(rendering, "_WHEEL", "no-such-wheel")
    ran = run("diagram", "export", "--check", "-f", "svg", "--app", SAMPLE)
    assert (ran.code, ran.out) == (1, "diagrams/order.svg: missing\n")


def test_the_check_says_what_changed_and_the_command_that_mends_it(run: CommandLine, nowhere: Path) -> None:
    run("diagram", "export", "-f", "mermaid,json", "--app", SAMPLE)
    for name in ("order.mmd", "order.json"):
        file = nowhere / "diagrams" / name
        file.write_text(file.read_text().replace("has_value", "has_worth"))
    _restamp(nowhere / "diagrams" / "order.mmd")
    _restamp(nowhere / "diagrams" / "order.json")
    (nowhere / "diagrams" / "order.json").rename(nowhere / "diagrams" / "old.json")
    ran = run("diagram", "export", "--check", "-f", "mermaid,json", "--app", SAMPLE)
    assert ran.code == 1
    lines = ran.out.splitlines()
    assert lines[0] == "diagrams/order.mmd: stale"
    assert lines[1] == (
        "  ~ transition 'submit' from 'draft' to 'submitted': the guards: [has_worth & !is_held], now [has_value & !is_held]"
    )
    assert lines[2] == "diagrams/order.json: missing"
    assert lines[3].startswith("diagrams/old.json: orphaned")
    assert f"hint: to mend it: usecasecore diagram export -f mermaid,json --app {SAMPLE}" in ran.err
    assert "hint: to remove what shows nothing any more: rm diagrams/old.json" in ran.err


def test_one_file_can_be_checked(run: CommandLine, nowhere: Path) -> None:
    assert run("diagram", "export", "order", "--check", "-o", "order.dot", "--app", SAMPLE).out == "order.dot: missing\n"
    run("diagram", "export", "order", "-o", "order.dot", "--app", SAMPLE)
    assert run("diagram", "export", "order", "--check", "-o", "order.dot", "--app", SAMPLE).code == 0
    data = run("diagram", "export", "--check", "-o", "order.dot", "--detail", "states", "--format", "json", "--app", SAMPLE).data
    assert data["findings"][0]["kind"] == "stale"
    assert {"kind": "changed", "what": "the detail: full, now states"} in data["findings"][0]["changes"]


def _restamp(file: Path) -> None:
    """Give a file that was edited the digest of what it shows now, as if it had been made so."""
    target = next(each for each in DiagramFormat if each.suffix == file.suffix)
    content = file.read_bytes()
    shown, stamped = shown_by(content, target), stamped_digest(content, target)
    assert shown is not None
    assert stamped is not None
    file.write_bytes(content.replace(stamped.encode(), digest(shown).encode()))
