"""The trusted certificates of an authority during a rotation, or below another authority."""

from __future__ import annotations

import pytest

from pki.store import Entry
from pki.trust import bundle


def _pem(text: str, kind: str = "CERTIFICATE") -> str:
    return f"-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n"


def _entries(**rows: str) -> dict[str, Entry]:
    return {name.replace("_", "/"): Entry(certificate=pem, key_sha256="") for name, pem in rows.items()}


def test_the_authority_alone_is_trusted_when_it_is_not_rotated() -> None:
    assert bundle(_entries(ca_x=_pem("one"), ca_y=_pem("two")), "ca/x") == _pem("one").encode()


def test_all_rows_of_an_authority_are_trusted_the_oldest_first() -> None:
    entries = _entries(ca_x_previous=_pem("old"), ca_x_next=_pem("new"), ca_x=_pem("signer"))
    assert bundle(entries, "ca/x") == (_pem("old") + _pem("signer") + _pem("new")).encode()


def test_the_issuers_of_an_authority_are_not_trusted() -> None:
    entries = _entries(ca_x=_pem("signer") + _pem("root"), ca_x_previous=_pem("old") + _pem("root"))
    assert bundle(entries, "ca/x") == (_pem("old") + _pem("signer")).encode()


def test_public_keys_and_stand_ins_are_taken_whole() -> None:
    public = _pem("key", "PUBLIC KEY")
    assert bundle({"service-account": Entry(certificate=public, key_sha256="")}, "service-account") == public.encode()
    assert bundle(_entries(ca_x="(issue ca/x: there is none yet)\n"), "ca/x") == b"(issue ca/x: there is none yet)\n"


def test_a_missing_authority_is_reported() -> None:
    with pytest.raises(KeyError):
        bundle({}, "ca/x")
