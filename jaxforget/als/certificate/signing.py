"""Host: Ed25519 signatures of receipts, by the package ``cryptography`` (extra ``sign``)."""

import hashlib
from collections.abc import Mapping
from typing import Any

from jaxforget.als.certificate import digests, fields

PURPOSE = b"jaxforget receipt\n"  # a signature made for anything else never fits a receipt


def generate() -> tuple[bytes, bytes]:
    """Draws a new key from the operating system.

    Returns:
      the private key and the public key, each as the text of a PEM file.
    """
    serialization, ed25519 = _library()
    private = ed25519.Ed25519PrivateKey.generate()
    secret = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return secret, public


def sign(receipt: Mapping[str, Any], private_key: bytes) -> dict[str, Any]:
    """Signs a receipt; an earlier signature is replaced.

    Args:
      receipt: from ``receipt.make``.
      private_key: PEM, from ``generate``.

    Returns:
      the receipt with the field ``signature``: the public key and the signature, in hexadecimal.

    Raises:
      ValueError: not a receipt, or not a private Ed25519 key.
      ModuleNotFoundError: ``cryptography`` is not installed.
    """
    fields.require(receipt)
    serialization, ed25519 = _library()
    try:
        key = serialization.load_pem_private_key(private_key, password=None)
    except (TypeError, ValueError) as fault:
        raise ValueError(f"not a private key in PEM without a password: {fault}") from fault
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ValueError(f"a receipt is signed with an Ed25519 key; got {type(key).__name__}")
    signed = key.sign(_message(receipt)).hex()
    public = key.public_key().public_bytes_raw().hex()
    return {**receipt, "signature": {"key": public, "value": signed}}


def signer(receipt: Mapping[str, Any]) -> str | None:
    """Returns the fingerprint of the key that signed a receipt; None where nobody did.

    Raises:
      ValueError: the signature does not belong to the receipt.
      ModuleNotFoundError: ``cryptography`` is not installed.
    """
    if "signature" not in receipt:
        return None
    _, ed25519 = _library()
    from cryptography.exceptions import InvalidSignature

    raw, value = (bytes.fromhex(receipt["signature"][name]) for name in ("key", "value"))
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(raw).verify(value, _message(receipt))
    except (InvalidSignature, ValueError) as fault:
        raise ValueError("the signature does not belong to this receipt") from fault
    return fingerprint(raw)


def fingerprint(raw: bytes) -> str:
    """SHA-256 of the 32 bytes of a public key.

    Example:
      >>> fingerprint(bytes(32))[:20]
      'sha256:66687aadf862b'
    """
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def fingerprint_of(public_key: bytes) -> str:
    """The fingerprint of a public key in PEM.

    Raises:
      ValueError: not a public Ed25519 key.
    """
    serialization, ed25519 = _library()
    try:
        key = serialization.load_pem_public_key(public_key)
    except (TypeError, ValueError) as fault:
        raise ValueError(f"not a public key in PEM: {fault}") from fault
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise ValueError(f"receipts are signed with Ed25519 keys; got {type(key).__name__}")
    return fingerprint(key.public_bytes_raw())


def _message(receipt: Mapping[str, Any]) -> bytes:
    return PURPOSE + digests.canonical(receipt, without=("signature",))


def _library() -> tuple[Any, Any]:
    """The two modules of ``cryptography`` in use: loaded where something is signed, or checked."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ModuleNotFoundError as fault:
        raise ModuleNotFoundError(
            "signatures need the package cryptography: pip install 'jaxforget[sign]'",
            name="cryptography",
        ) from fault
    return serialization, ed25519
