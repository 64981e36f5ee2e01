"""The UPDATE of an aggregate's row that travels with the ledger's own statements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["RowUpdate"]


class RowUpdate(NamedTuple):
    """An UPDATE of one row, by its primary key, in the form of the driver.

    Attributes:
        text: With the driver's placeholders; it ends with the condition.
        order: Its parameters in the driver's order; None where the driver takes them by name.
        values: Of the parameters, as the driver takes them.
    """

    text: str
    order: tuple[str, ...] | None
    values: Mapping[str, Any]
