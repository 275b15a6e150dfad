"""Bech32 (BIP 173), in which age writes its keys. No limit of 90 characters, as in age."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def encode(prefix: str, data: bytes) -> str:
    """`data` in lower case; the caller changes the case."""
    five = _regrouped(data, 8, 5, pad=True)
    mixed = _checksum([*_expanded(prefix), *five, *[0] * 6]) ^ 1
    return f"{prefix}1" + "".join(_ALPHABET[n] for n in (*five, *((mixed >> 5 * (5 - i)) & 31 for i in range(6))))


def decode(text: str) -> tuple[str, bytes]:
    """The prefix in lower case, and the data. ValueError when it is no Bech32, or a character was mistyped."""
    if text not in (text.lower(), text.upper()):
        raise ValueError("upper and lower case are mixed")
    prefix, one, rest = text.lower().rpartition("1")
    if not prefix or not one or len(rest) < 6 or any(c not in _ALPHABET for c in rest):
        raise ValueError("not in the form of a key")
    five = [_ALPHABET.index(c) for c in rest]
    if _checksum([*_expanded(prefix), *five]) != 1:
        raise ValueError("a character is wrong, by its checksum")
    return prefix, bytes(_regrouped(five[:-6], 5, 8, pad=False))


def _expanded(prefix: str) -> list[int]:
    return [*(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix)]


def _checksum(values: Iterable[int]) -> int:
    state = 1
    for value in values:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATORS):
            state ^= generator if top >> bit & 1 else 0
    return state


def _regrouped(data: Sequence[int], had: int, wanted: int, *, pad: bool) -> list[int]:
    found, bits, count = [], 0, 0
    for value in data:
        bits, count = bits << had | value, count + had
        while count >= wanted:
            count -= wanted
            found.append(bits >> count & (1 << wanted) - 1)
    rest = bits & (1 << count) - 1
    if pad and count:
        found.append(rest << wanted - count)
    elif not pad and (count >= had or rest):
        raise ValueError("it ends in the middle of a byte")
    return found
