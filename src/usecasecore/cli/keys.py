"""The key that anchors are signed and checked with: a file, so that it shows up in no list of processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

import typer

from usecasecore.cli.failure import Failure

if TYPE_CHECKING:
    from usecasecore.verification import HmacKey, Signer, Verifier

__all__ = ["KeyOption", "read_key", "signer_of", "verifier_of"]

T = TypeVar("T")

VARIABLE = "USECASECORE_ANCHOR_KEY"
_FORM = "`openssl genpkey -algorithm ed25519 -out FILE` makes a key pair, `openssl rand -hex 32 > FILE` a shared secret"

KeyOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="FILE",
        help=f"The key of the anchors: an Ed25519 key in PEM form, or a secret of 32 bytes or more. Else the file that {VARIABLE} names.",
    ),
]


def signer_of(key: bytes) -> Signer:
    """Return what signs with the content of a key file.

    Raises:
        DefinitionError: If it is no such key.
        ImportError: If it is in PEM form and cryptography is not installed.
    """
    if not _is_pem(key):
        return _secret(key)
    from usecasecore.integrations.ed25519 import Ed25519Signer

    return Ed25519Signer(key)


def verifier_of(key: bytes) -> Verifier:
    """Return what checks signatures by the content of a key file; see `signer_of`."""
    if not _is_pem(key):
        return _secret(key)
    from usecasecore.integrations.ed25519 import Ed25519Verifier

    return Ed25519Verifier(key)


def read_key(option: str | None, load: Callable[[bytes], T]) -> T:
    """Return what `load` makes of the key file that the option or the environment names.

    Raises:
        Failure: If none is named, if it can't be read, or if it is no such key.
    """
    from usecasecore.errors import DefinitionError

    name = option if option is not None else os.environ.get(VARIABLE)
    if not name:
        raise Failure("no key is named", f"pass --key FILE or set {VARIABLE}; {_FORM}")
    try:
        return load(Path(name).read_bytes())
    except OSError as error:
        raise Failure(f"the key file {name} can't be read: {error.strerror}", _FORM) from error
    except DefinitionError as error:
        raise Failure(f"{name}: {error}", _FORM) from error
    except ImportError as error:
        raise Failure(str(error)) from error


def _is_pem(key: bytes) -> bool:
    return key.lstrip().startswith(b"-----BEGIN ")


def _secret(key: bytes) -> HmacKey:
    from usecasecore.verification import HmacKey

    return HmacKey(key.rstrip(b"\r\n"))
