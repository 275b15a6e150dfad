"""The keys that Secrets are encrypted with in etcd: one row of the store. Pure but for the store.

kube-apiserver takes keys only as part of its EncryptionConfiguration, so the store keeps that whole file private, and the
index has its sum. The public index also has the stage, the order of the providers and the names of dropped keys.
Source: kubernetes.io, "Encrypting Confidential Data at Rest".
"""

from __future__ import annotations

import base64
import datetime as dt
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from kubewright.errors import Failed
from pki.decisions import Decision, Verdict
from pki.stages import Stage
from pki.store import Entry, Store

ROW = "encryption"
PATH = "/etc/kubernetes/apiserver/encryption.yaml"
PREFIX = "k8s:enc:secretbox:v1:"
"""The prefix of an encrypted value in etcd; the key's name and a colon follow."""
IDENTITY = "identity"
"""The provider without encryption. Always present, so that older values stay readable."""


@dataclass(frozen=True, kw_only=True)
class Providers:
    """The providers with which apiservers read Secrets; they write with the first."""

    stage: Stage
    names: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    """Dropped keys. A host that was left out may still have one."""

    @property
    def writes(self) -> str:
        return self.names[0]

    def following(self, new: str) -> Providers:
        """The next stage; `new` is the key for a settled cluster."""
        first, *rest = self.names
        names = {
            Stage.SETTLED: (first, new, *rest),
            Stage.INTRODUCED: (rest[0], first, *rest[1:]),
            Stage.SWITCHED: (first, IDENTITY),
            Stage.RETIRED: self.names,
        }[self.stage]
        gone = tuple(name for name in self.names if name not in names)
        return Providers(stage=self.stage.following, names=names, dropped=self.dropped + gone)

    def ahead(self, held: frozenset[str]) -> tuple[str, ...]:
        """Those of a host's keys (`held`) that come from a later row than this one. The store changes before any host, so a
        host may be behind the store, never ahead."""
        if strange := held - {IDENTITY, *self.names, *self.dropped}:
            return tuple(sorted(strange))
        keys = [name for name in self.names if name != IDENTITY]
        old, new = (keys[0], keys[-1]) if self.stage is Stage.INTRODUCED else (keys[-1], keys[0])
        # Both still decrypt here, and the host has dropped the old one.
        return (new,) if new in held and old not in held else ()


def providers(entries: Mapping[str, Entry]) -> Providers:
    """The row in the index. KeyError when there is none."""
    said, *more = entries[ROW].certificate.splitlines()
    stage, *names = said.split()
    return Providers(stage=Stage(stage), names=tuple(names), dropped=tuple(" ".join(more).split()[1:]))


def decide(store: Store) -> Decision:
    """The row is made once; `kubewright encryption rotate` replaces it."""
    if ROW in store.entries:
        return Decision(name=ROW, verdict=Verdict.KEEP, reason="a key is never replaced by apply")
    return Decision(name=ROW, verdict=Verdict.ISSUE, reason="there is none yet")


def issue(store: Store, now: dt.datetime, *, serving: bool) -> Providers:
    """Make the row, if there is none. `serving`: running apiservers cannot read with a key yet, so none may write with it."""
    with store.locked():
        if ROW not in store.entries:
            name = _name(now)
            there = Providers(stage=Stage.SETTLED, names=(name, IDENTITY))
            if serving:
                there = Providers(stage=Stage.INTRODUCED, names=(IDENTITY, name))
            store.add({ROW: _row(there, {name: _secret()})})
        return providers(store.entries)


def advance(store: Store, seen: Stage, now: dt.datetime) -> Providers:
    """Go from the stage `seen` to the next. Failed when another run has changed the stage."""
    with store.locked():
        before = providers(store.entries)
        if before.stage is not seen:
            raise Failed(f"another run has moved the encryption key from {seen} to {before.stage}; run the same command again")
        new = _name(now)
        after = before.following(new)
        store.add({ROW: _row(after, {**keys(store), new: _secret()})})
        return after


def keys(store: Store) -> dict[str, str]:
    """Every key by its name, base64."""
    return dict(re.findall(r"- name: (\S+)\n +secret: (\S+)\n", store.key(ROW).decode()))


def _name(now: dt.datetime) -> str:
    """The time of creation, and unique. It is part of every stored value, up to a colon."""
    return f"{now:%Y%m%d}-{os.urandom(4).hex()}"


def _secret() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def _row(there: Providers, secrets: Mapping[str, str]) -> tuple[bytes, bytes]:
    gone = f"dropped {' '.join(there.dropped)}\n" if there.dropped else ""
    return f"{there.stage} {' '.join(there.names)}\n{gone}".encode(), _document(there, secrets).encode()


def _document(there: Providers, secrets: Mapping[str, str]) -> str:
    """An EncryptionConfiguration; neighbouring keys are one provider's."""
    lines = [
        "apiVersion: apiserver.config.k8s.io/v1",
        "kind: EncryptionConfiguration",
        "resources:",
        "- resources:",
        "  - secrets",
        "  providers:",
    ]
    before = IDENTITY
    for name in there.names:
        if name == IDENTITY:
            lines.append("  - identity: {}")
        else:
            lines += ["  - secretbox:", "      keys:"] if before == IDENTITY else []
            lines += [f"      - name: {name}", f"        secret: {secrets[name]}"]
        before = name
    return "\n".join([*lines, ""])
