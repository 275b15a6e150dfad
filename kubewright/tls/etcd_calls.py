"""The calls to etcd that show a certificate's rights, serialized by hand (etcd's rpc.proto). They change nothing."""

from __future__ import annotations

RANGE, DELETE, USERS = "/etcdserverpb.KV/Range", "/etcdserverpb.KV/DeleteRange", "/etcdserverpb.Auth/UserList"


def _bytes(field: int, value: bytes) -> bytes:
    assert len(value) < 0x80, value
    return bytes([field << 3 | 2, len(value)]) + value


def reading(key: str) -> bytes:
    """RangeRequest of one key."""
    return _bytes(1, key.encode())


def reading_all(prefix: str) -> bytes:
    """RangeRequest of every key with `prefix` (empty: all keys), counted only."""
    key = prefix.encode() or b"\x00"
    end = key[:-1] + bytes([key[-1] + 1]) if prefix else b"\x00"
    return _bytes(1, key) + _bytes(2, end) + b"\x48\x01"  # count_only, field 9


def deleting(key: str) -> bytes:
    """DeleteRangeRequest of one key, which must not exist."""
    return _bytes(1, key.encode())
