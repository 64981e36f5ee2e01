"""Questions that are asked before there is a command: whoever looks for it is stopped, and is known to depend on it.

How it works: in the place of what isn't there stands an `Absent`. The first look at it raises `Needed`, which is no
`Exception`, so that code which swallows errors doesn't swallow it; code that swallows everything is found out all the same,
because the look was noted. So an answer that is given was given without the command, and holds for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, Final, NoReturn, TypeVar

__all__ = ["UNKNOWN", "Absent", "Needed", "SaidWithout", "Unknown"]

A = TypeVar("A")


class Unknown(Enum):
    """The type of `UNKNOWN`."""

    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        raise TypeError("UNKNOWN is neither yes nor no")


UNKNOWN: Final = Unknown.UNKNOWN
"""The answer of what can't be answered yet."""


class Needed(BaseException):
    """Something was looked for that isn't there. Ends the question, not the program."""


class Absent:
    """Something that isn't there yet, and whether anybody looked for it."""

    __slots__ = ("_looked",)

    def __init__(self) -> None:
        self._looked = False

    def needed(self) -> NoReturn:
        """Stop whoever looks.

        Raises:
            Needed: Always.
        """
        self._looked = True
        raise Needed

    def ask(self, question: Callable[..., A], *arguments: Any) -> A | Unknown:
        """Return the answer to a question; UNKNOWN where it looked for what isn't there, whatever it made of that.

        Raises:
            Exception: Whatever the question raises of itself.
        """
        self._looked = False
        try:
            answer = question(*arguments)
        except Needed:
            return UNKNOWN
        except Exception:
            if self._looked:
                return UNKNOWN
            raise
        return UNKNOWN if self._looked else answer


class SaidWithout(dict[str, Any]):
    """What guards find as `event.kwargs`, without the command: each way to it is a look."""

    def __init__(self, absent: Absent, **said: Any) -> None:
        super().__init__(said)
        self._absent = absent

    def __getitem__(self, key: str) -> Any:
        return self._absent.needed() if key == "command" else super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return what was said, but not the command."""
        return self._absent.needed() if key == "command" else super().get(key, default)

    def __contains__(self, key: object) -> bool:
        # That there will be one is known.
        return key == "command" or super().__contains__(key)

    def pop(self, key: str, *default: Any) -> Any:
        """Take out what was said, but not the command."""
        return self._absent.needed() if key == "command" else super().pop(key, *default)

    def __iter__(self) -> Iterator[str]:
        self._absent.needed()

    def __or__(self, other: Any) -> Any:
        self._absent.needed()

    def __ror__(self, other: Any) -> Any:
        self._absent.needed()

    def __eq__(self, other: object) -> bool:
        self._absent.needed()

    __hash__ = None  # as for any dict

    def __repr__(self) -> str:
        self._absent.needed()

    def keys(self) -> Any:
        """Not without the command."""
        self._absent.needed()

    def values(self) -> Any:
        """Not without the command."""
        self._absent.needed()

    def items(self) -> Any:
        """Not without the command."""
        self._absent.needed()

    def copy(self) -> Any:
        """Not without the command."""
        self._absent.needed()

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return what was said, but not the command."""
        return self._absent.needed() if key == "command" else super().setdefault(key, default)
