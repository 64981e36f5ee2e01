"""Who vouches for an anchor: a shared secret, or a key pair whose private half never meets the verifier."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Protocol

from usecasecore.errors import DefinitionError

__all__ = ["Ed25519Signer", "Ed25519Verifier", "HmacKey", "Signer", "Verifier", "signer_from", "verifier_from"]

_SHORTEST = 32
_MISSING = 'keys in PEM form need cryptography: pip install "usecasecore[signing]"'


class Signer(Protocol):
    """Signs anchors: a port, for a key that lives in a key management service, say.

    Attributes:
        algorithm: What it is called in the anchor.
        key_id: Tells keys apart, and tells nothing about them.
    """

    algorithm: str
    key_id: str

    def sign(self, content: bytes, /) -> bytes:
        """Return the signature of the content."""
        ...


class Verifier(Protocol):
    """Checks the signatures of anchors."""

    def verify(self, algorithm: str, content: bytes, signature: bytes, /) -> bool:
        """Say whether the signature is that of the content, by the algorithm and a key that is trusted."""
        ...


class HmacKey:
    """HMAC-SHA256. Whoever can verify can also forge, so the key belongs to neither the application nor the database."""

    algorithm = "hmac-sha256"

    def __init__(self, secret: bytes) -> None:
        """Take the secret, at least 32 bytes.

        Raises:
            DefinitionError: If it is shorter.
        """
        if len(secret) < _SHORTEST:
            raise DefinitionError(f"the key has {len(secret)} bytes; {_SHORTEST} or more are accepted")
        self._secret = secret
        self.key_id = hashlib.sha256(b"usecasecore hmac key\n" + secret).hexdigest()[:16]

    def sign(self, content: bytes, /) -> bytes:
        """Return the signature of the content."""
        return hmac.digest(self._secret, content, "sha256")

    def verify(self, algorithm: str, content: bytes, signature: bytes, /) -> bool:
        """Say whether the signature is that of the content."""
        return algorithm == self.algorithm and hmac.compare_digest(self.sign(content), signature)


class Ed25519Verifier:
    """Ed25519, by the library cryptography."""

    algorithm = "ed25519"

    def __init__(self, public: Any) -> None:
        self._public = public
        self.key_id = hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]

    def verify(self, algorithm: str, content: bytes, signature: bytes, /) -> bool:
        """Say whether the signature is that of the content."""
        from cryptography.exceptions import InvalidSignature

        if algorithm != self.algorithm:
            return False
        try:
            self._public.verify(signature, content)
        except InvalidSignature:
            return False
        return True


class Ed25519Signer(Ed25519Verifier):
    """Ed25519, with the private half."""

    def __init__(self, private: Any) -> None:
        super().__init__(private.public_key())
        self._private = private

    def sign(self, content: bytes, /) -> bytes:
        """Return the signature of the content."""
        signature: bytes = self._private.sign(content)
        return signature


def signer_from(key: bytes) -> HmacKey | Ed25519Signer:
    """Return the signer of a key file: a private Ed25519 key in PEM form, else the secret of an HMAC, without its line end.

    Raises:
        DefinitionError: If the key is too short, or in PEM form and not a private Ed25519 key.
        ImportError: If the key is in PEM form and cryptography is not installed.
    """
    if not _is_pem(key):
        return HmacKey(key.rstrip(b"\r\n"))
    private = _pem(key, "load_pem_private_key", "Ed25519PrivateKey", password=None)
    if private is None:
        raise DefinitionError("the key is not an Ed25519 private key without a password; such a one in PEM form signs anchors")
    return Ed25519Signer(private)


def verifier_from(key: bytes) -> HmacKey | Ed25519Verifier:
    """Return the verifier of a key file: an Ed25519 key in PEM form, public or private, else the secret of an HMAC.

    Raises:
        DefinitionError: If the key is too short, or in PEM form and not an Ed25519 key.
        ImportError: If the key is in PEM form and cryptography is not installed.
    """
    if not _is_pem(key):
        return HmacKey(key.rstrip(b"\r\n"))
    public = _pem(key, "load_pem_public_key", "Ed25519PublicKey")
    return signer_from(key) if public is None else Ed25519Verifier(public)


def _is_pem(key: bytes) -> bool:
    return key.lstrip().startswith(b"-----BEGIN ")


def _pem(key: bytes, load: str, kind: str, **options: Any) -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise ImportError(_MISSING) from error
    try:
        loaded = getattr(serialization, load)(key, **options)
    except (ValueError, TypeError):
        return None
    return loaded if isinstance(loaded, getattr(ed25519, kind)) else None
