"""Names as identifiers that every language takes: letters, digits and underscores, a letter or underscore first.

No two names share one. `_x` starts an escape, `_x2f_` for a slash; an underscore before an x is escaped itself.
"""

from __future__ import annotations

import re

__all__ = ["identifier", "named"]

_EMPTY = "_x_"
_ESCAPE = re.compile(r"_x([0-9a-f]+)_")
_ESCAPED = re.compile(r"^[0-9]|_(?=x)|[^A-Za-z0-9_]")


def identifier(name: str) -> str:
    """Return the name with every other character escaped: `fulfilment/picking` becomes `fulfilment_x2f_picking`."""
    return _EMPTY if not name else _ESCAPED.sub(lambda found: f"_x{ord(found.group()):x}_", name)


def named(identifier: str) -> str:
    """Return the name that an identifier was made of."""
    return "" if identifier == _EMPTY else _ESCAPE.sub(lambda found: chr(int(found.group(1), 16)), identifier)
