"""An SSH private key file: why it cannot be used, and whether the SSH agent holds the same key.

Read without paramiko, which must not be imported before gevent has patched sockets. `connection` loads the key later.
"""

from __future__ import annotations

import base64
import os
import re
import stat
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

AGENT_TIMEOUT = 10
"""Seconds: an agent may ask a person about each key, but not without end."""
_LARGEST = 1 << 16
_BEGIN = re.compile(rb"^-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----\s*$", re.MULTILINE)
_OPENSSH = b"openssh-key-v1\0"
_PUBLIC = (b"ssh-", b"ecdsa-", b"sk-")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why a key file can't be used, and what to do."""

    why: str
    todo: str


def fault(path: Path) -> Fault | None:
    """What is wrong with the key in that file. None: it can be used, or the SSH agent holds the same key."""
    found = _judge(path, path.read_bytes()[:_LARGEST])
    if found is not None and (public_key(path) or b"-") not in agent_keys():
        return found
    return _mode(path)


def usable(path: Path) -> bool:
    """Whether the file itself can be loaded, without the agent."""
    return _judge(path, path.read_bytes()[:_LARGEST]) is None


def public_key(path: Path) -> bytes | None:
    """The public key that belongs to the file, as SSH sends it: an OpenSSH key shows it even when encrypted. Else FILE.pub."""
    content = path.read_bytes()[:_LARGEST]
    if fields := _openssh(content):
        return fields[1]
    beside = path.with_name(f"{path.name}.pub")
    try:
        return base64.b64decode(beside.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None


def agent_keys() -> frozenset[bytes]:
    """The public keys in the SSH agent; none without an agent."""
    if not os.environ.get("SSH_AUTH_SOCK"):
        return frozenset()
    try:
        told = subprocess.run(["ssh-add", "-L"], capture_output=True, text=True, check=False, timeout=AGENT_TIMEOUT).stdout
        lines = [line for line in told.encode().splitlines() if line.startswith(_PUBLIC)]
        return frozenset(base64.b64decode(line.split()[1]) for line in lines)
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return frozenset()


def _mode(path: Path) -> Fault | None:
    # OpenSSH ignores such a key of one's own, and `kubewright kubectl` connects by OpenSSH [openssh: authfile.c,
    # sshkey_perm_ok].
    there = path.stat()
    mode = stat.S_IMODE(there.st_mode)
    if there.st_uid != os.getuid() or not mode & 0o077:
        return None
    return Fault(why=f"others can read it: mode {mode:04o}", todo=f"chmod 0600 {path}")


def _judge(path: Path, content: bytes) -> Fault | None:
    if not content.strip():
        return Fault(why="it is empty", todo="correct the path, or make a key there with ssh-keygen")
    if content.startswith(_PUBLIC):
        return Fault(why="it is the public key", todo="name it without .pub")
    if content.startswith(b"PuTTY-User-Key-File"):
        return Fault(why="it is a PuTTY key", todo=f"convert it: puttygen {path} -O private-openssh -o {path}.openssh")
    begin = _BEGIN.search(content)
    if begin is None:
        return Fault(why="it is not a private key", todo="correct the path, or make a key there with ssh-keygen")
    kind = begin[1].strip().decode()
    if _encrypted(kind, content):
        return Fault(
            why="it needs a passphrase, and no SSH agent holds it",
            todo=f"give it to your SSH agent: ssh-add {path} (under sudo, keep SSH_AUTH_SOCK)",
        )
    if kind not in ("OPENSSH", "RSA", "EC"):
        # PKCS#8 (no kind) and DSA; ssh-keygen writes the former again in OpenSSH's format.
        said = begin[0].decode().strip()
        return Fault(why=f"its format is not supported: {said}", todo=f"convert it: ssh-keygen -p -N '' -f {path}")
    return _damage(path, kind, content[begin.start() :])


def _encrypted(kind: str, content: bytes) -> bool:
    if kind == "OPENSSH":
        fields = _openssh(content)
        return fields is not None and fields[0] != b"none"
    return kind == "ENCRYPTED" or b"Proc-Type: 4,ENCRYPTED" in content


def _damage(path: Path, kind: str, content: bytes) -> Fault | None:
    try:
        (load_ssh_private_key if kind == "OPENSSH" else load_pem_private_key)(content, None)
    except UnsupportedAlgorithm:
        return Fault(why="its key is in hardware, or of an unsupported kind", todo=f"give it to your SSH agent: ssh-add {path}")
    except (ValueError, TypeError) as error:
        return Fault(why=f"it is damaged: {error}", todo="correct the path, or make a key there with ssh-keygen")
    return None


def _openssh(content: bytes) -> tuple[bytes, bytes] | None:
    """The cipher's name and the public key of a file in OpenSSH's format [openssh: PROTOCOL.key]. None: it is no such file."""
    begin = _BEGIN.search(content)
    if begin is None or begin[1] != b"OPENSSH ":
        return None
    try:
        body = base64.b64decode(content[begin.end() :].split(b"-----END")[0])
        if not body.startswith(_OPENSSH):
            return None
        cipher, rest = _string(body[len(_OPENSSH) :])
        _kdf, rest = _string(rest)
        _options, rest = _string(rest)
        public, _ = _string(rest[4:])
    except (ValueError, struct.error):
        return None
    return cipher, public


def _string(data: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack(">I", data[:4])
    return data[4 : 4 + length], data[4 + length :]
