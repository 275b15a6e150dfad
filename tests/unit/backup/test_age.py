"""The age format: files of age 1.2.1 are read, ours come back, and no changed byte is accepted."""

from __future__ import annotations

import base64
import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewright.backup import bech32
from kubewright.backup.age import CHUNK, Damaged, Identity, Passphrase, Reader, Recipient, Unopened, Writer

# Made with age 1.2.1 and age-keygen for this test; age also read files of ours then.
IDENTITY = "AGE-SECRET-KEY-1FQ78FQXLEH52Z7APLEUN26YNKG4SJQMUR4ALZ9X2JQAEYX938FYS4QGLCK"
RECIPIENT = "age17hrn070xcavp43edhw63mmemejahjfy537fq539v7wcgurjvgqusyskr03"
FOR_RECIPIENT = base64.b64decode(
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBsdHl6ZUs4UC9CekFlZUxUck52dk5XcnpqUkl6cERaMWNNRXdOQ1dYMUdB"
    "CkR5WVZCWFFQdHdPL2ZKYzVGRWtCemNweVcxaFFNakhQUlJjbWtaOFZCQVUKLS0tIFJxUEorRUxuQkJmdnN1NXBJUm1ON0hLejRz"
    "cm1VMmJ4Tk9BNWtZSnBhcGMKe7uURecDFNeAZzpRV/EAfwXBWy4Gq4rLlIEsxATCsvHsb4e/Q3wGZTw="
)
FOR_PASSPHRASE = base64.b64decode(
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCBjL09pckFsbzlzdXpBTUhzcHkrdkV3IDE4Cm1pSXdScWtXT1JDVmxxU0JG"
    "WGE5NGtBMU5tc0w0SDUyRDRXMVV4alp3bFEKLS0tIFM3KzkxSW5ZNU53SnFCK1NqMW9mYlBGMFlvNGZzWW9vY1BoRko2TENBamsK"
    "aR6j06h8TT7r9i0L14CzYW7dz0LU3BXpGu47ApanhPNToa7uhvnwtZw="
)
CHEAP = Passphrase(b"correct horse", work=2)


def _sealed(content: bytes, *locks: Recipient | Passphrase) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, locks or [CHEAP])
    writer.write(content)
    writer.finish()
    return file.getvalue()


def _opened(sealed: bytes, *openers: Identity | Passphrase) -> bytes:
    reader = Reader(io.BytesIO(sealed), openers or [CHEAP])
    content = reader.read()
    reader.end()
    return content


def test_a_file_of_age_for_a_recipient_is_read() -> None:
    assert _opened(FOR_RECIPIENT, Identity.parse(IDENTITY)) == b"a backup\n"


def test_a_file_of_age_with_a_passphrase_is_read() -> None:
    assert _opened(FOR_PASSPHRASE, Passphrase(b"correct horse")) == b"a backup\n"


def test_keys_have_the_text_that_age_gives_them() -> None:
    identity = Identity.parse(IDENTITY)
    assert str(identity.recipient) == RECIPIENT and identity.text() == IDENTITY
    assert Recipient.parse(RECIPIENT) == identity.recipient
    assert IDENTITY not in repr(identity)


# An example of BIP 173.
def test_bech32_reads_an_example_of_the_standard() -> None:
    assert bech32.decode("A12UEL5L") == ("a", b"")
    assert bech32.encode("a", b"") == "a12uel5l"


@pytest.mark.parametrize("text", ["", "1qzzfhee", "age1", "a12uel5m", "A12uEL5L", "abc1bbbbbbb", IDENTITY[:-1] + "L"])
def test_bech32_refuses_what_is_mistyped(text: str) -> None:
    with pytest.raises(ValueError, match=r"form|case|wrong"):
        bech32.decode(text)


@pytest.mark.parametrize("parse", [Identity.parse, Recipient.parse])
@pytest.mark.parametrize("other", ["A12UEL5L", "", "secret"])
def test_another_kind_of_key_is_refused(parse: object, other: str) -> None:
    assert callable(parse)
    with pytest.raises(ValueError, match=r"age|form|case"):
        parse(other)
    with pytest.raises(ValueError, match="not an X25519"):
        parse(RECIPIENT if parse == Identity.parse else IDENTITY)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7])
def test_every_size_comes_back(size: int) -> None:
    content = os.urandom(size)
    assert _opened(_sealed(content)) == content
    one, other = Identity.generate(), Identity.generate()
    sealed = _sealed(content, one.recipient, other.recipient)
    assert _opened(sealed, one) == _opened(sealed, Identity.generate(), other) == content


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, CHUNK + 3), max_size=5), st.integers(1, CHUNK * 2))
def test_pieces_do_not_matter(pieces: list[int], at_once: int) -> None:
    content, file = [os.urandom(size) for size in pieces], io.BytesIO()
    writer = Writer(file, [CHEAP])
    for piece in content:
        writer.write(piece)
    writer.finish()
    reader, found = Reader(io.BytesIO(file.getvalue()), [CHEAP]), b""
    while block := reader.read(at_once):
        found += block
    assert found == b"".join(content)


def test_no_changed_byte_is_accepted() -> None:
    identity = Identity.generate()
    for sealed, opener in ((_sealed(b"x" * 40), CHEAP), (_sealed(b"x" * 40, identity.recipient), identity)):
        for at in range(len(sealed)):
            for bit in (1, 128):
                changed = bytearray(sealed)
                changed[at] ^= bit
                with pytest.raises((Damaged, Unopened)):
                    _opened(bytes(changed), opener)


@pytest.mark.parametrize("at", [0, CHUNK // 2, CHUNK + 15, CHUNK + 16, 2 * CHUNK + 40])
def test_no_changed_byte_of_a_later_part_is_accepted(at: int) -> None:
    sealed = bytearray(_sealed(os.urandom(2 * CHUNK + 100)))
    sealed[sealed.index(b"\n---") + 50 + 16 + at] ^= 4
    with pytest.raises(Damaged, match="changed or cut off"):
        _opened(bytes(sealed))


def test_a_file_that_is_cut_off_anywhere_is_refused() -> None:
    sealed = _sealed(b"x" * 30)
    for size in range(len(sealed)):
        with pytest.raises(Damaged):
            _opened(sealed[:size])


def test_missing_swapped_and_added_parts_are_refused() -> None:
    sealed, part = _sealed(os.urandom(3 * CHUNK)), CHUNK + 16
    head = len(sealed) - 3 * part
    parts = [sealed[head + i * part : head + (i + 1) * part] for i in range(3)]
    for others in (parts[:2], parts[1:], [parts[1], parts[0], parts[2]], [*parts, parts[2]]):
        with pytest.raises(Damaged):
            _opened(sealed[:head] + b"".join(others))


def test_a_wrong_password_and_another_key_do_not_open_it() -> None:
    with pytest.raises(Unopened):
        _opened(_sealed(b"x"), Passphrase(b"wrong", work=2))
    with pytest.raises(Unopened):
        _opened(_sealed(b"x", Identity.generate().recipient), Identity.generate())


def test_a_passphrase_stands_alone() -> None:
    with pytest.raises(ValueError, match="alone"):
        Writer(io.BytesIO(), [CHEAP, Identity.generate().recipient])
    with pytest.raises(ValueError, match="alone"):
        Writer(io.BytesIO(), [])


def test_a_file_that_asks_for_too_much_work_is_refused() -> None:
    with pytest.raises(Damaged, match=r"too much work \(2\^30"):
        _opened(FOR_PASSPHRASE.replace(b" 18\n", b" 30\n"), CHEAP)
