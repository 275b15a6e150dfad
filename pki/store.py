"""The certificates and keys of a cluster: a public index and a private store, beside the inventory.

`certificates.json` holds every certificate (they are public) and the SHA-256 of every key file, so that a plan
or a no-op never opens the private store. `secrets/keys.json` (0600, in a 0700 folder that git ignores) holds the
keys, each under its own SHA-256. Keys are written before the index that names them: a run killed between the two
leaves the old index with the old keys, still a pair. The private file is JSON, or that JSON in an Ansible Vault. Its first
bytes tell which, so a conversion replaces one file.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kubewright import disk
from kubewright.errors import Failed
from pki.vault import HEAD, Vault, password_from

INDEX, PRIVATE = "certificates.json", "secrets/keys.json"
IGNORE = ".gitignore"
IGNORED = """# Written by kubewright: private keys, snapshots of etcd, and what runs leave behind.
secrets/
backups/
logs/
journal/
*.kubeconfig
.restoring-*/
"""
"""For an inventory without a .gitignore of its own."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the index, PEM: a certificate, with its issuers after it if it has any; or the service accounts' public
    key; or a request for an external CA."""

    certificate: str
    key_sha256: str
    """Empty for an authority whose key is kept elsewhere."""


class Store:
    """The certificates and keys of one cluster. `folder` is the inventory's. `vault` opens the private file if it is
    encrypted; without one, its password is asked for on the terminal."""

    def __init__(self, folder: Path, vault: Vault | None = None) -> None:
        self.folder = folder
        self.vault = vault or Vault(password_from(None))
        self.entries: dict[str, Entry] = {}
        self._keys: dict[str, str] | None = None
        self._unknown: frozenset[str] = frozenset()
        with contextlib.suppress(FileNotFoundError):
            rows = json.loads((folder / INDEX).read_text())
            self.entries = {name: Entry(**row) for name, row in rows.items()}

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold while adding: two runs from one inventory must not issue at once. Reads the index afresh."""
        folder = (self.folder / PRIVATE).parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for path in (self.folder / PRIVATE, self.folder / INDEX):
                # The leftover of a killed run; no other run writes now.
                for torn in path.parent.glob(f".{path.name}.*"):
                    torn.unlink()
            self._hide_from_git()
            self.__init__(self.folder, self.vault)  # type: ignore[misc]
            yield

    @property
    def encrypted(self) -> bool:
        """Whether the private file is a vault. Does not open it."""
        try:
            with (self.folder / PRIVATE).open("rb") as file:
                return file.read(len(HEAD)) == HEAD
        except FileNotFoundError:
            return False

    def _private(self) -> dict[str, str]:
        if self._keys is None:
            self._keys = {}
            with contextlib.suppress(FileNotFoundError):
                content = (self.folder / PRIVATE).read_bytes()
                self._keys = json.loads(self.vault.opened(content, self.folder / PRIVATE) if self.encrypted else content)
        return self._keys

    def _keep(self, keys: dict[str, str], vault: Vault | None) -> None:
        content = json.dumps(keys, indent=1, sort_keys=True).encode()
        disk.replace(self.folder / PRIVATE, vault.sealed(content) if vault else content)
        self._keys = keys

    def _hide_from_git(self) -> None:
        """Write a .gitignore before the first key: an inventory may be in a public repository. An existing file with rules
        stays."""
        for path, rules in ((self.folder / IGNORE, IGNORED), ((self.folder / PRIVATE).with_name(IGNORE), "*\n")):
            if not path.exists() or not path.stat().st_size:
                path.write_text(rules)

    def recrypt(self, vault: Vault | None) -> None:
        """Rewrite the private file, with `vault` or, for None, in plain text, atomically. Call it under the lock."""
        self._keep(self._private(), vault)
        self.vault = vault or self.vault

    def certificate(self, name: str) -> bytes:
        """PEM of `name`; KeyError when there is none."""
        return self.entries[name].certificate.encode()

    def key(self, name: str) -> bytes:
        """PEM of `name`'s private key. KeyError when there is no such row; Failed when its key is not in the store."""
        sha256 = self.entries[name].key_sha256
        if not sha256:
            raise Failed(f"the key of {name} is kept elsewhere: it signs nothing here; run: kubewright certs requests")
        if sha256 not in self._private():
            raise Failed(
                f"the private key of {name} is not in {self.folder / PRIVATE}, though {INDEX} names it: bring that file back "
                f"from its backup; for a new cluster only, remove {self.folder / INDEX}"
            )
        return self._private()[sha256].encode()

    @property
    def incomplete(self) -> tuple[str, ...]:
        """The rows whose key is missing in the store."""
        return tuple(name for name, e in self.entries.items() if e.key_sha256 and e.key_sha256 not in self._private())

    def add(self, pairs: Mapping[str, tuple[bytes, bytes]]) -> None:
        """Keep (certificate PEM, key PEM) by name, in place of rows with the same name."""
        if pairs:
            self.change(add=pairs)

    def change(
        self,
        *,
        remove: Iterable[str] = (),
        move: Mapping[str, str] | None = None,
        add: Mapping[str, tuple[bytes, bytes]] | None = None,
    ) -> None:
        """One change of the index: first `remove` these rows, then `move` rows from old to new names, all at once, then
        `add` (certificate PEM, key PEM) by name, with an empty key where it is kept elsewhere. KeyError, and nothing
        changed, when a row to remove or move is not there.

        Keys are written first, then the index, each file replaced whole. A key that no row names any more stays until the
        change after this one: a run killed between the two files leaves the old index with its keys. Without an index the
        keys' owners are unknown (after a killed first run, or a lost index): this run keeps all keys until it reads the
        index again.
        """
        move, add = move or {}, add or {}
        if not (self.folder / INDEX).exists():
            self._unknown = frozenset(self._private())
        named = {entry.key_sha256 for entry in self.entries.values()} | self._unknown
        rows = dict(self.entries)
        for name in remove:
            del rows[name]
        moved = {new: rows.pop(old) for old, new in move.items()}
        added = {
            name: Entry(certificate=certificate.decode(), key_sha256=hashlib.sha256(key).hexdigest() if key else "")
            for name, (certificate, key) in add.items()
        }
        rows |= moved | added
        new_keys = {added[name].key_sha256: key.decode() for name, (_, key) in add.items() if key}
        keys = {sha: key for sha, key in self._private().items() if sha in named} | new_keys
        self._keep(keys, self.vault if self.encrypted else None)
        document = {name: vars(entry) for name, entry in sorted(rows.items())}
        disk.replace(self.folder / INDEX, json.dumps(document, indent=1).encode(), mode=0o644)
        self.entries = rows
