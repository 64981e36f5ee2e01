"""`usecasecore audit anchor`: sign the heads of the audit trail, and take the signature out of the database."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from usecasecore.cli.database import Database, find_database
from usecasecore.cli.db import read_ledger
from usecasecore.cli.failure import Failure
from usecasecore.cli.keys import KeyOption, read_key, signer_of
from usecasecore.cli.options import AppOption, Format, FormatOption, SchemaOption, UrlOption
from usecasecore.cli.output import print_json, print_lines

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from usecasecore.verification import AnchorExporter, Signer

__all__ = ["anchor"]


def anchor(
    out: Annotated[
        str,
        typer.Option("--out", metavar="DIR|FILE", help="A directory for one file each, a file to append to, or - for stdout."),
    ],
    key: KeyOption = None,
    url: UrlOption = None,
    schema: SchemaOption = None,
    app: AppOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Sign the heads that changed since the last anchor, and write it outside of the database.

    Whatever is rewritten in the audit trail afterwards, `usecasecore verify --anchors` finds. Run it often, and put the
    anchors where whoever owns the database can't write.
    """
    signer = read_key(key, signer_of)
    database = find_database(url, app, schema)
    read_ledger(database, lambda _connection, _schema: None)
    heads = _make(database, signer)
    exported = _export(database, out)
    if out == "-":
        return
    if output is Format.JSON:
        print_json({"heads": heads, "exported": exported})
    elif exported:
        numbers = f"anchor {exported[0]}" if len(exported) == 1 else f"anchors {exported[0]} to {exported[-1]}"
        print_lines([f"{numbers} written to {out}, {heads} heads changed"])
    else:
        print_lines(["no head has changed since the last anchor"])


def _make(database: Database, signer: Signer) -> int:
    from usecasecore.verification import anchor_heads

    heads = 0
    now = datetime.now(UTC)
    # A transaction for each: it holds up commands on the heads in it.
    while made := database.write(lambda connection: next(anchor_heads(connection, signer, now, schema=database.schema), None)):
        heads += len(made.leaves)
    return heads


def _export(database: Database, out: str) -> list[int]:
    from usecasecore.verification import export_anchors
    from usecasecore.verification.anchor_files import exporter_to

    exporter: AnchorExporter = _Stdout() if out == "-" else exporter_to(Path(out))

    def export(connection: Connection) -> list[int]:
        try:
            return export_anchors(connection, exporter, datetime.now(UTC), schema=database.schema)
        except FileExistsError as error:
            raise Failure(
                f"{error.filename2 or error.filename} is there already and holds another anchor",
                "anchors of another ledger, or of this one before it was restored, belong into a directory of their own",
            ) from error
        except OSError as error:
            message = f"the anchors can't be written to {out}: {error.strerror}"
            raise Failure(message, "they are kept in the ledger, and written the next time") from error

    return database.write(export)


class _Stdout:
    def export(self, _sequence: int, document: str, /) -> None:
        # Not `print_lines`: it lets a reader that is gone pass, and what nobody has must not count as exported.
        sys.stdout.write(f"{document}\n")
        sys.stdout.flush()
