"""Runs the command line in this process, by the function that the entry point calls."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from usecasecore.cli import main


@dataclass(frozen=True)
class Ran:
    code: object
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


class CommandLine:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ran:
        with pytest.raises(SystemExit) as left:
            main(arguments)
        captured = self._capsys.readouterr()
        return Ran(left.value.code, captured.out, captured.err)
