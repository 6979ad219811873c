"""Who pushes is proven by a token of Google's; a token of anybody else, for anybody else, or too old, is not."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from shared.errors import Retry
from tests.emulators import there

if not all(map(there, ("google.auth", "cryptography"))):
    pytest.skip("needs Google's clients: make contracts", allow_module_level=True)

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

from shared.google.tokens import GoogleCertificates, Verifier

ACCOUNT = "push@acme.iam.gserviceaccount.com"


class Issuer:
    """Signs as Google does."""

    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(1).not_valid_before(now - dt.timedelta(days=1))
        made = builder.not_valid_after(now + dt.timedelta(days=1)).sign(key, hashes.SHA256())
        self.certificate = made.public_bytes(serialization.Encoding.PEM).decode()
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        self.signer = crypt.RSASigner.from_string(pem.decode(), "key-1")

    def token(self, **changes: object) -> str:
        now = int(time.time())
        claims = {
            "iss": "https://accounts.google.com",
            "aud": "kuznia",
            "email": ACCOUNT,
            "email_verified": True,
            "iat": now,
            "exp": now + 600,
        }
        return "Bearer " + jwt.encode(self.signer, claims | changes).decode()


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def verifier(issuer: Issuer) -> Verifier:
    return Verifier("kuznia", ACCOUNT, lambda: {"key-1": issuer.certificate})


def test_the_right_one(verifier: Verifier, issuer: Issuer):
    assert verifier.fault(issuer.token()) == ""


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"aud": "another"}, "not valid"),
        ({"exp": 1000, "iat": 900}, "not valid"),
        ({"iss": "https://example.com"}, "issued by 'https://example.com'"),
        ({"email": "somebody@example.com"}, "of 'somebody@example.com', and should be of"),
        ({"email_verified": False}, "should be of"),
        ({"email_verified": "false"}, "should be of"),
    ],
)
def test_a_wrong_one_is_told(verifier: Verifier, issuer: Issuer, changes: dict[str, object], told: str):
    assert told in verifier.fault(issuer.token(**changes))


def test_one_signed_by_somebody_else(verifier: Verifier):
    assert "not valid" in verifier.fault(Issuer().token())


@pytest.mark.parametrize("header", ["", "Basic abc", "Bearer", "Bearer not-a-token"])
def test_none_at_all(verifier: Verifier, header: str):
    assert verifier.fault(header)


def test_an_audience_alone_proves_nothing(issuer: Issuer):
    """Whoever has any account of Google's can have a token made for our audience."""
    verifier = Verifier("kuznia", "", lambda: {"key-1": issuer.certificate})
    assert "should be of" in verifier.fault(issuer.token(email=""))
    assert "should be of" in verifier.fault(issuer.token(email="else@example.com"))


def test_certificates_that_cannot_be_had_are_told():
    with pytest.raises(Retry, match="certificates cannot be had"):
        GoogleCertificates("http://127.0.0.1:9/certs")()
