"""Private keys: generate, write as PEM, read. PKCS #8, unencrypted: the store protects them."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

ALGORITHMS = ("ecdsa-p256", "rsa-2048", "rsa-4096")


def generate(algorithm: str) -> Key:
    """A new key of one of `ALGORITHMS`; ValueError for another."""
    if algorithm == "ecdsa-p256":
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm in ALGORITHMS:
        return rsa.generate_private_key(public_exponent=65537, key_size=int(algorithm.removeprefix("rsa-")))
    raise ValueError(f"{algorithm}: a key is one of {', '.join(ALGORITHMS)}")


def algorithm_of(public: object) -> str:
    """The algorithm of a public key, from `ALGORITHMS`; its class's name for any other."""
    if isinstance(public, rsa.RSAPublicKey):
        return f"rsa-{public.key_size}"
    if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
        return "ecdsa-p256"
    return type(public).__name__


def to_pem(key: Key) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def from_pem(pem: bytes) -> Key:
    """The key in `pem`; ValueError when there is none, or it is neither ECDSA nor RSA."""
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("a private key is ECDSA or RSA")
    return key


def public_pem(key: Key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
