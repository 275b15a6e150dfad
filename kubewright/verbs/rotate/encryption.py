"""`kubewright encryption`: what Secrets are encrypted with in etcd, as etcd holds them, and a new key for them."""

from __future__ import annotations

import datetime as dt
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubewright.errors import Failed
from kubewright.hosts.remote import Answer
from kubewright.model.cluster import ETCD_CLIENT_PORT, Node
from kubewright.plan.role import Role
from kubewright.plan.wave import Wave, roles_of
from kubewright.run.connection import connected
from kubewright.run.events import Event, nobody
from kubewright.run.run import Run
from kubewright.run.session import Session
from kubewright.spec import load
from kubewright.verbs.apply import Summary, carry_out
from kubewright.verbs.certificates import opened
from kubewright.verbs.rotate.loop import rotate
from pki import encryption
from pki.encryption import IDENTITY, PREFIX, Providers
from pki.stages import Stage
from pki.store import Store

VERB = "encryption rotate"
ATTEMPTS = 5
"""A Secret that somebody changes or deletes while it is rewritten is rewritten at the next."""
_AN_HOUR = 3600
_KEYS = "/registry/secrets/"
# Of each value only what it begins with leaves the host.
_LIST = f"""{{ etcdctl --endpoints=https://127.0.0.1:{ETCD_CLIENT_PORT} \\
  --cacert=/etc/etcd/pki/ca.crt --cert=/etc/etcd/pki/root.crt --key=/etc/etcd/pki/root.key \\
  get {_KEYS} --prefix -w fields || echo failed; }} | awk '
/^"Key" : / {{ key = substr($0, 10 + {len(_KEYS)}, length($0) - 10 - {len(_KEYS)}) }}
/^"Value" : / {{
  value = substr($0, 12, {len(PREFIX)} + 64); name = "{IDENTITY}"
  if (index(value, "{PREFIX}") == 1) {{ name = substr(value, {len(PREFIX)} + 1); sub(/:.*/, "", name) }}
  print name, key
}}
/^failed$/ {{ exit 1 }}'"""
# Upstream's way: what is read is written back as it is, and the apiserver encrypts it again. Its status is that of `get`. What
# `replace` says might quote what it was given: of each refusal only the reason and the Secret's name leave the host.
_REWRITE = r"""k="/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf"
exec 3>&1
status=$({ { $k get secrets --all-namespaces -o json; echo $? >&4; } | $k replace -f - 2>&1 >/dev/null | sed -n '
s/^Error from server (\([A-Za-z]*\)): [^:]*: \(Operation cannot be fulfilled on \)*[Ss]ecrets* "\([a-z0-9.-]*\)".*/\1 \3/p
t
s/^Error from server (\([A-Za-z]*\)).*/\1/p' >&3; } 4>&1)
exit $status"""
_TOLD = 5
"""Refusals that an error names."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the store says, and what every Secret in etcd (`namespace/name`) is encrypted with, by the key's name."""

    providers: Providers
    secrets: Mapping[str, tuple[str, ...]]

    @property
    def others(self) -> tuple[str, ...]:
        """Secrets that are not encrypted with the key that is written with; plain ones are of them."""
        return tuple(s for name, secrets in self.secrets.items() if name != self.providers.writes for s in secrets)

    @property
    def settled(self) -> bool:
        return self.providers.stage is Stage.SETTLED and not self.others


def _providers(inventory: Path) -> Providers:
    entries = Store(inventory).entries
    if encryption.ROW not in entries:
        raise Failed(f"{inventory}: there is no encryption key yet; it is made by: kubewright apply -i {inventory}")
    return encryption.providers(entries)


def _session(inventory: Path, roles: Sequence[Role], notify: Callable[[Event], None] = nobody) -> Session:
    return Session(inventory=inventory, spec=load(inventory), roles=roles, verb=VERB, notify=notify, lasting=True)


def _first(session: Session, nodes: Sequence[Node], script: str) -> tuple[str, Answer]:
    """The first of `nodes` on which `script` succeeds, and its answer. Failed, with each one's reason, when it does on none."""
    reasons = [f"{problem.where}: {problem.what}" for problem in session.unreachable]
    for host in (session.remotes[n.name] for n in nodes if n.name in session.remotes):
        answer = host.run(script, timeout=_AN_HOUR)
        if answer.status == 0:
            return host.name, answer
        reasons.append(f"{host.name}: {answer.stderr.strip() or answer.status}")
    raise Failed("; ".join(reasons) + "; see kubewright verify, then run the same command again")


def parse(listing: str) -> dict[str, tuple[str, ...]]:
    """What `_LIST` prints, by the key's name."""
    found = defaultdict(list)
    for line in listing.splitlines():
        name, secret = line.split(" ", 1)
        found[name].append(secret)
    return {name: tuple(secrets) for name, secrets in sorted(found.items())}


def _stored(session: Session) -> dict[str, tuple[str, ...]]:
    _, answer = _first(session, session.plan.etcd_members, _LIST)
    return parse(answer.stdout)


def standing(inventory: Path, roles: Sequence[Role]) -> Standing:
    """As store and etcd say. Failed when no etcd member answers, or no key was ever made."""
    there = _providers(inventory)
    with connected(_session(inventory, roles)) as session:
        return Standing(providers=there, secrets=_stored(session))


@dataclass(frozen=True, kw_only=True)
class EncryptionKey:
    """See `Rotation`."""

    session: Session

    def stage(self) -> Stage:
        return _providers(self.session.inventory).stage

    def advance(self, stage: Stage) -> None:
        _, store = opened(self.session.inventory)
        encryption.advance(store, stage, dt.datetime.now(dt.UTC))

    def prove(self, stage: Stage) -> None:
        """Every apiserver was restarted with what the store says: that is an apply's own evidence. The Secrets are left."""
        if stage is not Stage.SWITCHED:
            return
        seen, refused, attempts = self._seen(), tuple[str, ...](), ATTEMPTS
        while seen.others and attempts:
            refused = self._rewrite(seen)
            seen, attempts = self._seen(), attempts - 1
        if seen.others:
            why = f"the apiserver refused, of the last attempt: {', '.join(refused[:_TOLD])}; " if refused else ""
            raise Failed(
                f"{len(seen.others)} Secrets are not encrypted with {seen.providers.writes}: {', '.join(seen.others[:10])}; "
                f"{why}run the same command again: it resumes from here"
            )
        self.session.say(f"every Secret is encrypted with {seen.providers.writes}")

    def _seen(self) -> Standing:
        return Standing(providers=_providers(self.session.inventory), secrets=_stored(self.session))

    def _rewrite(self, seen: Standing) -> tuple[str, ...]:
        """What was refused: `REASON NAME`, each once."""
        self.session.say(f"rewriting {len(seen.others)} Secrets")
        self.session.take_lock()
        self.session.begin()
        master, answer = _first(self.session, self.session.plan.masters, _REWRITE)
        done = f"rewrite {len(seen.others)} Secrets with {seen.providers.writes}"
        self.session.note("encryption", master, (done,))
        return tuple(dict.fromkeys(answer.stdout.splitlines()))


def rotate_key(inventory: Path, waves: tuple[Wave, ...], notify: Callable[[Event], None]) -> Summary:
    """A new key for every Secret; the old one is forgotten. What fails is in the summary, or raised; run again, it resumes."""
    with connected(_session(inventory, roles_of(waves), notify)) as session:

        def bring() -> Summary:
            return carry_out(Run(session=session, waves=waves), time.monotonic())

        return rotate(EncryptionKey(session=session), bring, session.say)
