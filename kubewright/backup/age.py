"""The age file format, version 1 [C2SP: age]: X25519 recipients, or one passphrase. Files of any size, in constant memory.

The payload is cut into chunks of 64 KiB, each with its own authentication tag and number: a changed, moved, added or
missing byte is found. The header has a MAC by the file's own key.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from kubewright.backup import bech32

CHUNK = 64 << 10
INTRODUCTION = b"age-encryption.org/v1\n"
WORK = 18
"""log2 of scrypt's cost: 256 MiB of memory and about a second."""
MOST_WORK = 22
"""A file may not ask for more, as in age itself."""
_TAG, _FILE_KEY, _COLUMNS, _LONGEST = 16, 16, 64, 1 << 16
_X25519_LABEL = b"age-encryption.org/v1/X25519"
_SCRYPT_LABEL = b"age-encryption.org/v1/scrypt"
_IDENTITY_PREFIX = "age-secret-key-"


class Unopened(ValueError):
    """No key given opens the file: the password is wrong, or the key is of another recipient."""


class Damaged(ValueError):
    """The file is not whole, or was changed."""


@dataclass(frozen=True)
class Stanza:
    """One way to the file's key: a kind, its arguments, and the encrypted key."""

    kind: str
    arguments: tuple[str, ...]
    body: bytes

    def text(self) -> bytes:
        body = _b64(self.body)
        # The last line is shorter than the others, so that it ends the body; it may be empty.
        lines = [body[at : at + _COLUMNS] for at in range(0, len(body) + 1, _COLUMNS)]
        return "".join(f"{line}\n" for line in (" ".join(("->", self.kind, *self.arguments)), *lines)).encode()


class Lock(Protocol):
    """Encrypts a file's key."""

    def wrap(self, file_key: bytes) -> Stanza: ...


class Opener(Protocol):
    """Decrypts a file's key. None: the stanza is not for it, or its key is another."""

    def unwrap(self, stanza: Stanza) -> bytes | None: ...


@dataclass(frozen=True)
class Passphrase:
    """Locks and opens. No other lock may be beside it, by the format. `work`: for new files."""

    password: bytes
    work: int = WORK

    def wrap(self, file_key: bytes) -> Stanza:
        salt = os.urandom(16)
        return Stanza("scrypt", (_b64(salt), str(self.work)), _sealed(self._key(salt, self.work), file_key))

    def unwrap(self, stanza: Stanza) -> bytes | None:
        if stanza.kind != "scrypt":
            return None
        salt, work = _arguments(stanza, 2)
        if len(raw := _unb64(salt)) != 16 or not work.isdecimal() or work.startswith("0") or len(stanza.body) != 32:
            raise Damaged("the header is not in age's form")
        if int(work) > MOST_WORK:
            raise Damaged(f"the header asks for too much work (2^{work}, at most 2^{MOST_WORK})")
        return _opened(self._key(raw, int(work)), stanza.body)

    def _key(self, salt: bytes, work: int) -> bytes:
        return Scrypt(salt=_SCRYPT_LABEL + salt, length=32, n=1 << work, r=8, p=1).derive(self.password)

    def __repr__(self) -> str:
        return "Passphrase()"


@dataclass(frozen=True)
class Recipient:
    """A public key: encrypts, and cannot decrypt."""

    public: bytes

    @classmethod
    def parse(cls, text: str) -> Recipient:
        """From `age1...`. ValueError when it is none."""
        prefix, public = bech32.decode(text)
        if prefix != "age" or len(public) != 32:
            raise ValueError("not an X25519 recipient of age")
        return cls(public)

    def __str__(self) -> str:
        return bech32.encode("age", self.public)

    def wrap(self, file_key: bytes) -> Stanza:
        once = X25519PrivateKey.generate()
        share = _raw(once.public_key())
        shared = once.exchange(X25519PublicKey.from_public_bytes(self.public))
        key = _derived(shared, share + self.public, _X25519_LABEL)
        return Stanza("X25519", (_b64(share),), _sealed(key, file_key))


@dataclass(frozen=True)
class Identity:
    """A private key."""

    secret: bytes

    @classmethod
    def parse(cls, text: str) -> Identity:
        """From `AGE-SECRET-KEY-1...`. ValueError when it is none; the message does not show it."""
        prefix, secret = bech32.decode(text)
        if prefix != _IDENTITY_PREFIX or len(secret) != 32 or text != text.upper():
            raise ValueError("not an X25519 identity of age")
        return cls(secret)

    @classmethod
    def generate(cls) -> Identity:
        return cls(X25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))

    @property
    def recipient(self) -> Recipient:
        return Recipient(_raw(X25519PrivateKey.from_private_bytes(self.secret).public_key()))

    def text(self) -> str:
        """`AGE-SECRET-KEY-1...`: a secret."""
        return bech32.encode(_IDENTITY_PREFIX, self.secret).upper()

    def __repr__(self) -> str:
        return f"Identity({self.recipient})"

    def unwrap(self, stanza: Stanza) -> bytes | None:
        if stanza.kind != "X25519":
            return None
        (written,) = _arguments(stanza, 1)
        if len(share := _unb64(written)) != 32 or len(stanza.body) != 32:
            raise Damaged("the header is not in age's form")
        try:
            shared = X25519PrivateKey.from_private_bytes(self.secret).exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError:  # a share of low order
            raise Damaged("the header has an impossible key") from None
        return _opened(_derived(shared, share + self.recipient.public, _X25519_LABEL), stanza.body)


@dataclass(frozen=True)
class FileKey:
    """The key of one file, from who has just written it: it opens that file and no other."""

    key: bytes

    def unwrap(self, _stanza: Stanza) -> bytes | None:
        return self.key

    def __repr__(self) -> str:
        return "FileKey()"


class Writer:
    """Encrypts what is written to it into `target`, which the caller closes, after `finish`."""

    def __init__(self, target: IO[bytes], locks: Sequence[Lock]) -> None:
        if not locks or (len(locks) > 1 and any(isinstance(lock, Passphrase) for lock in locks)):
            raise ValueError("recipients, or one passphrase alone")
        self.key = FileKey(os.urandom(_FILE_KEY))
        head = INTRODUCTION + b"".join(lock.wrap(self.key.key).text() for lock in locks) + b"---"
        nonce = os.urandom(16)
        target.write(head + b" " + _b64(_mac(self.key.key).of(head)).encode() + b"\n" + nonce)
        self._target, self._pending, self._number = target, bytearray(), 0
        self._cipher = ChaCha20Poly1305(_derived(self.key.key, nonce, b"payload"))

    def write(self, data: bytes) -> int:
        self._pending += data
        # A full chunk stays until more comes: the last one is marked.
        while len(self._pending) > CHUNK:
            self._seal(bytes(self._pending[:CHUNK]), last=False)
            del self._pending[:CHUNK]
        return len(data)

    def flush(self) -> None:
        """Nothing: chunks are whole or not written."""

    def finish(self) -> None:
        self._seal(bytes(self._pending), last=True)

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        self._target.write(self._cipher.encrypt(_nonce(self._number, last=last), chunk, None))
        self._number += 1


class Reader:
    """Decrypts `source`. Unopened or Damaged; nothing unauthenticated is ever returned.

    It can be read as a file. `end` must be reached before what was read is trusted to be everything.
    """

    def __init__(self, source: IO[bytes], openers: Sequence[Opener]) -> None:
        file_key = _file_key(*_header(source), openers)
        nonce = source.read(16)
        if len(nonce) != 16:
            raise Damaged("the file ends after its header")
        self._cipher = ChaCha20Poly1305(_derived(file_key, nonce, b"payload"))
        self._chunks, self._pending = self._read_chunks(source), b""

    def read(self, size: int = -1) -> bytes:
        blocks, have = [self._pending], len(self._pending)
        while size < 0 or have < size:
            if not (chunk := next(self._chunks, b"")):
                break
            blocks.append(chunk)
            have += len(chunk)
        whole = b"".join(blocks)
        found = whole if size < 0 else whole[:size]
        self._pending = whole[len(found) :]
        return found

    def end(self) -> None:
        """Read the rest, to see that it is whole."""
        while self.read(CHUNK):
            pass

    def _read_chunks(self, source: IO[bytes]) -> Iterator[bytes]:
        number, following = 0, _exactly(source, CHUNK + _TAG)
        while True:
            sealed, following = following, b""
            if len(sealed) == CHUNK + _TAG:
                following = _exactly(source, CHUNK + _TAG)
            try:
                chunk = self._cipher.decrypt(_nonce(number, last=not following), sealed, None)
            except InvalidTag:
                raise Damaged(f"the file was changed or cut off, at its part {number + 1}") from None
            if not chunk and number:
                raise Damaged("the file has an empty part at its end")
            if chunk:
                yield chunk
            if not following:
                return
            number += 1


def _header(source: IO[bytes]) -> tuple[list[Stanza], bytes, bytes]:
    """The stanzas, the bytes under the MAC, and the MAC."""
    if (head := source.readline(_LONGEST)) != INTRODUCTION:
        raise Damaged("not an encrypted backup: its first line is not age's")
    stanzas: list[Stanza] = []
    while True:
        line = _line(source)
        if line.startswith(b"---"):
            kind, space, mac = line[:-1].partition(b" ")
            if kind != b"---" or not space or len(found := _unb64(_ascii(mac))) != 32:
                raise Damaged("the header is not in age's form")
            return stanzas, head + b"---", found
        mark, *words = _ascii(line[:-1]).split(" ")
        if mark != "->" or not words or not all(words):
            raise Damaged("the header is not in age's form")
        head, body = head + line, ""
        while True:
            part = _line(source)
            head, text = head + part, _ascii(part[:-1])
            body += text
            if len(text) > _COLUMNS or len(head) > _LONGEST:
                raise Damaged("the header is not in age's form")
            if len(text) < _COLUMNS:
                break
        stanzas.append(Stanza(words[0], tuple(words[1:]), _unb64(body)))


def _file_key(stanzas: Sequence[Stanza], head: bytes, mac: bytes, openers: Sequence[Opener]) -> bytes:
    if len(stanzas) > 1 and any(stanza.kind == "scrypt" for stanza in stanzas):
        raise Damaged("a passphrase is not the only key of the file")
    for stanza in stanzas:
        for opener in openers:
            if (key := opener.unwrap(stanza)) is not None:
                if len(key) != _FILE_KEY:
                    raise Damaged("the key of the file has a wrong length")
                _mac(key).check(head, mac)
                return key
    raise Unopened


class _mac:  # noqa: N801
    def __init__(self, file_key: bytes) -> None:
        self._key = _derived(file_key, b"", b"header")

    def of(self, head: bytes) -> bytes:
        made = hmac.HMAC(self._key, hashes.SHA256())
        made.update(head)
        return made.finalize()

    def check(self, head: bytes, mac: bytes) -> None:
        made = hmac.HMAC(self._key, hashes.SHA256())
        made.update(head)
        try:
            made.verify(mac)
        except InvalidSignature:
            raise Damaged("the header was changed") from None


def _arguments(stanza: Stanza, count: int) -> tuple[str, ...]:
    if len(stanza.arguments) != count:
        raise Damaged("the header is not in age's form")
    return stanza.arguments


def _line(source: IO[bytes]) -> bytes:
    line = source.readline(_LONGEST)
    if not line.endswith(b"\n"):
        raise Damaged("the file ends in its header")
    return line


def _exactly(source: IO[bytes], size: int) -> bytes:
    """`size` bytes, fewer only at the end of the file."""
    blocks = b""
    while len(blocks) < size and (block := source.read(size - len(blocks))):
        blocks += block
    return blocks


def _ascii(raw: bytes) -> str:
    if any(not 33 <= byte <= 126 and byte != 32 for byte in raw):
        raise Damaged("the header is not in age's form")
    return raw.decode("ascii")


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    """Without padding, and in the one way in which it is written."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Damaged("the header is not in age's form") from None
    if _b64(raw) != text:
        raise Damaged("the header is not in age's form")
    return raw


def _derived(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(secret)


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _sealed(key: bytes, file_key: bytes) -> bytes:
    return ChaCha20Poly1305(key).encrypt(bytes(12), file_key, None)


def _opened(key: bytes, body: bytes) -> bytes | None:
    try:
        return ChaCha20Poly1305(key).decrypt(bytes(12), body, None)
    except InvalidTag:
        return None


def _raw(public: X25519PublicKey) -> bytes:
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)
