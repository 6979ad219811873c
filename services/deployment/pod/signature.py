"""Whether a manifest was signed by who may sign: ECDSA on P-256 over SHA-256, with a public key of the operator's.

A signature is base64 of DER, as `cosign sign-blob --key … --output-signature` and
`openssl dgst -sha256 -sign … | base64` write it.
"""

from __future__ import annotations

import base64
import binascii
import importlib
from pathlib import Path

from shared.errors import Reject


def verify(content: bytes, signature: bytes, key: Path) -> None:
    """Return where the signature is this key's, of this content. key: PEM. Raises Reject where it is not."""
    try:
        told = base64.b64decode(b"".join(signature.split()), validate=True)
    except binascii.Error as error:
        raise Reject(f"the manifest's signature is not base64: {error}") from error
    try:
        pem = key.read_bytes()
    except OSError as error:
        raise Reject(f"the public key cannot be read: {error}") from error
    _check(content, told, pem, key)


def _check(content: bytes, signature: bytes, pem: bytes, key: Path) -> None:
    try:
        hashes = importlib.import_module("cryptography.hazmat.primitives.hashes")
        ec = importlib.import_module("cryptography.hazmat.primitives.asymmetric.ec")
        serialization = importlib.import_module("cryptography.hazmat.primitives.serialization")
        invalid = importlib.import_module("cryptography.exceptions")
    except ModuleNotFoundError as error:
        raise Reject("signatures are checked with `cryptography`: pip install 'kuznia[google]'") from error
    try:
        public = serialization.load_pem_public_key(pem)
    except (ValueError, invalid.UnsupportedAlgorithm) as error:
        raise Reject(f"{key} holds no public key in PEM: {error}") from error
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise Reject(
            f"{key} should hold a public key of ECDSA on P-256, as `cosign generate-key-pair` makes it"
        )
    try:
        public.verify(signature, content, ec.ECDSA(hashes.SHA256()))
    except invalid.InvalidSignature:
        raise Reject("the manifest is not signed by this key: the weights are not used") from None
