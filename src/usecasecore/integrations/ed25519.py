"""Anchors signed with an Ed25519 key pair: whoever verifies can't sign.

AnchorTrail(read_documents(vault), Ed25519Verifier(Path("public.pem").read_bytes()))
"""

from __future__ import annotations

import hashlib

from usecasecore.errors import DefinitionError

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
except ImportError as error:
    raise ImportError('keys in PEM form need cryptography: pip install "usecasecore[signing]"') from error

__all__ = ["Ed25519Signer", "Ed25519Verifier"]


class Ed25519Verifier:
    """Checks signatures by the public half of a key pair."""

    algorithm = "ed25519"

    def __init__(self, pem: bytes) -> None:
        """Take the public key in PEM form; a private one does too.

        Raises:
            DefinitionError: If it is neither.
        """
        self._public = _public(pem) or _private(pem).public_key()
        self.key_id = hashlib.sha256(self._public.public_bytes_raw()).hexdigest()[:16]

    def verify(self, algorithm: str, content: bytes, signature: bytes, /) -> bool:
        """Say whether the signature is that of the content."""
        if algorithm != self.algorithm:
            return False
        try:
            self._public.verify(signature, content)
        except InvalidSignature:
            return False
        return True


class Ed25519Signer(Ed25519Verifier):
    """Signs with the private half of a key pair."""

    def __init__(self, pem: bytes) -> None:
        """Take the private key in PEM form, without a password.

        Raises:
            DefinitionError: If it is none.
        """
        super().__init__(pem)
        self._private = _private(pem)

    def sign(self, content: bytes, /) -> bytes:
        """Return the signature of the content."""
        return self._private.sign(content)


def _public(pem: bytes) -> Ed25519PublicKey | None:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError):
        return None
    return key if isinstance(key, Ed25519PublicKey) else None


def _private(pem: bytes) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise DefinitionError("the key is not the Ed25519 key that is wanted, in PEM form and without a password")
    return key
