"""Anchors signed with a key pair."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from usecasecore.errors import DefinitionError
from usecasecore.integrations.ed25519 import Ed25519Signer, Ed25519Verifier
from usecasecore.verification import HmacKey


def private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_whoever_verifies_cannot_sign() -> None:
    key = Ed25519PrivateKey.generate()
    signer, verifier = Ed25519Signer(private_pem(key)), Ed25519Verifier(public_pem(key))
    assert not hasattr(verifier, "sign")
    with pytest.raises(DefinitionError):
        Ed25519Signer(public_pem(key))
    signature = signer.sign(b"what is signed")
    assert verifier.verify("ed25519", b"what is signed", signature)
    assert Ed25519Verifier(private_pem(key)).verify("ed25519", b"what is signed", signature)
    assert signer.key_id == verifier.key_id
    assert not verifier.verify("ed25519", b"what is not", signature)
    assert not Ed25519Verifier(public_pem(Ed25519PrivateKey.generate())).verify("ed25519", b"what is signed", signature)


def test_a_signature_is_checked_by_the_algorithm_it_names() -> None:
    key = Ed25519PrivateKey.generate()
    secret = HmacKey(bytes(32))
    assert not Ed25519Verifier(public_pem(key)).verify("hmac-sha256", b"it", secret.sign(b"it"))
    assert not secret.verify("ed25519", b"it", secret.sign(b"it"))


def test_a_key_of_another_kind_is_refused() -> None:
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for key in (other, b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(DefinitionError, match="not the Ed25519 key that is wanted"):
            Ed25519Signer(key)
