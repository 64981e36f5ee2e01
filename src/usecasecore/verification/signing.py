"""Who vouches for an anchor: a shared secret here, a key pair in `usecasecore.integrations.ed25519`."""

from __future__ import annotations

import hashlib
import hmac
from typing import Protocol

from usecasecore.errors import DefinitionError

__all__ = ["HmacKey", "Signer", "Verifier"]

_SHORTEST = 32


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
