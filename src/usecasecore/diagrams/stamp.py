"""The stamp on each file: the digest of the diagram that it shows, and that diagram itself.

So a file can say later whether it is stale, and what has changed since. The diagram is one line of ASCII JSON in which
nothing ends a comment of any format, nor starts a directive: `<`, `>`, `&`, `%` and double hyphens are JSON escapes.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator

from usecasecore.diagrams.document import compact, digest, from_data
from usecasecore.diagrams.model import Diagram
from usecasecore.diagrams.overlay import Overlay

__all__ = ["comments", "into_pdf", "into_png", "stamped", "stamped_digest", "svg_metadata"]

_DIGEST, _MODEL = "usecasecore-digest", "usecasecore-model"
_SVG_ELEMENT = '<usecasecore xmlns="urn:usecasecore:diagram">'
_PDF_START = "<< /Producer (usecasecore) /"
# Each is found only where it is written, which nothing in a name can look like: there names start no line, no tag, no chunk
# and no PDF dictionary.
_COMMENT = rb"^(?://|%%|'|<!--) "
_HASH = rb"sha256:[0-9a-f]{64}"
_SVG, _PDF = re.escape(_SVG_ELEMENT.encode()), re.escape(_PDF_START.encode())
_FOUND_DIGEST = re.compile(rb"(?:%b|%b|%b|tEXt)usecasecore-digest(?: \(?|\0)(%b)" % (_COMMENT, _SVG, _PDF, _HASH), re.MULTILINE)
_FOUND_MODEL = re.compile(
    rb"(?:%b|%busecasecore-digest %b\n|%busecasecore-digest \(%b\) /|tEXt)usecasecore-model(?: \(?|\0)(?=\{)([\x20-\x7e]*)"
    % (_COMMENT, _SVG, _HASH, _PDF, _HASH),
    re.MULTILINE,
)
_PNG_START = b"\x89PNG\r\n\x1a\n"
_ESCAPED = re.compile(r"[<>&%]|-(?=-)")


def comments(diagram: Diagram, start: str, end: str = "", overlay: Overlay | None = None) -> tuple[str, str]:
    """Return what goes above and what goes below a text: comments in lines of their own.

    With an overlay there is no digest: what a database says is no export to check against.
    """
    title = _ascii(f"the lifecycle {diagram.name!r} at detail {diagram.detail}")
    if overlay is not None:
        shows = _ascii(f"with the overlay {overlay.name!r}")
        return f"{start} usecasecore: {title}, {shows}, as it was. Made by `usecasecore diagram export`.{end}\n", ""
    above = (f"usecasecore: {title}. Made by `usecasecore diagram export`; not to be edited.", f"{_DIGEST} {digest(diagram)}")
    return (
        "".join(f"{start} {line}{end}\n" for line in above),
        f"{start} {_MODEL} {_escaped(compact(diagram))}{end}\n",
    )


def svg_metadata(diagram: Diagram) -> str:
    """Return the element that goes into an SVG, below its root."""
    return f"<metadata>{_SVG_ELEMENT}{_DIGEST} {digest(diagram)}\n{_MODEL} {_escaped(compact(diagram))}</usecasecore></metadata>"


def into_png(png: bytes, diagram: Diagram) -> bytes:
    """Return the PNG with text chunks after its header.

    Raises:
        ValueError: If it is no PNG.
    """
    if not png.startswith(_PNG_START):
        raise ValueError("this is no PNG")
    header_end = len(_PNG_START) + 25  # IHDR: length, type, 13 bytes, checksum
    chunks = (_text_chunk(keyword, text) for keyword, text in _entries(diagram))
    return png[:header_end] + b"".join(chunks) + png[header_end:]


def into_pdf(pdf: bytes, diagram: Diagram) -> bytes:
    """Return the PDF with entries in its document information, by an incremental update (PDF 32000-1, section 7.5.6).

    Raises:
        ValueError: If it is no PDF, or one whose end can't be read.
    """
    starts = re.findall(rb"startxref\s+(\d+)", pdf)
    roots = re.findall(rb"/Root\s+(\d+\s+\d+\s+R)", pdf)
    sizes = re.findall(rb"/Size\s+(\d+)", pdf)
    if not pdf.startswith(b"%PDF") or not (starts and roots and sizes):
        raise ValueError("this is no PDF that can be added to")
    number = max(map(int, sizes))
    start = len(pdf) + 1
    entries = " /".join(f"{keyword} ({_pdf_text(text)})" for keyword, text in _entries(diagram))
    information = f"\n{number} 0 obj\n{_PDF_START}{entries} >>\nendobj\n".encode("ascii")
    table = f"xref\n{number} 1\n{start:010d} 00000 n \n".encode()
    trailer = f"<< /Size {number + 1} /Root {roots[-1].decode()} /Info {number} 0 R /Prev {int(starts[-1])} >>"
    end = f"trailer\n{trailer}\nstartxref\n{len(pdf) + len(information)}\n%%EOF\n".encode()
    return pdf + information + table + end


def stamped_digest(content: bytes) -> str | None:
    """Return the digest that a file carries; None if it carries none."""
    found = _FOUND_DIGEST.search(content)
    return found.group(1).decode() if found else None


def stamped(content: bytes) -> Diagram | None:
    """Return the diagram that a file carries; None if it carries none that can be read."""
    found = _FOUND_MODEL.search(content)
    if found is None:
        return None
    line = found.group(1).decode("ascii")
    if content.startswith(b"%PDF"):
        line = re.sub(r"\\(.)", r"\1", line)
    try:
        # What follows on the line belongs to the format.
        return from_data(json.JSONDecoder().raw_decode(line)[0])
    except ValueError:
        return None


def _entries(diagram: Diagram) -> Iterator[tuple[str, str]]:
    yield _DIGEST, digest(diagram)
    yield _MODEL, _escaped(compact(diagram))


def _ascii(text: str) -> str:
    return _escaped(text.encode("ascii", "backslashreplace").decode())


def _escaped(line: str) -> str:
    return _ESCAPED.sub(lambda found: f"\\u{ord(found.group()):04x}", line)


def _text_chunk(keyword: str, text: str) -> bytes:
    typed = b"tEXt" + keyword.encode("latin-1") + b"\0" + text.encode("latin-1")
    return struct.pack(">I", len(typed) - 4) + typed + struct.pack(">I", zlib.crc32(typed))


def _pdf_text(text: str) -> str:
    return re.sub(r"[\\()]", lambda found: f"\\{found.group()}", text)
