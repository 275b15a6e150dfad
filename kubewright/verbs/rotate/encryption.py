"""`kubewright encryption`: what Secrets are encrypted with in etcd, as etcd holds them, and a new key for them."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kubewright.errors import Failed
from kubewright.hosts.lock import holder
from kubewright.hosts.remote import Answer
from kubewright.model.cluster import ETCD_CLIENT_PORT, Node
from kubewright.plan.role import Role
from kubewright.run.connection import connected
from kubewright.run.journal import Journal, new_id
from kubewright.run.run import Event, Run
from kubewright.spec import load
from kubewright.verbs.apply import Summary, apply
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


@contextmanager
def _connected(inventory: Path, roles: Sequence[Role]) -> Iterator[Run]:
    run = Run(inventory=inventory, spec=load(inventory), roles=roles, verb=VERB)
    with connected(run):
        yield run


def _first(run: Run, nodes: Sequence[Node], script: str) -> tuple[str, Answer]:
    """The first of `nodes` on which `script` succeeds, and its answer. Failed, with each one's reason, when it does on none."""
    reasons = [f"{problem.where}: {problem.what}" for problem in run.unreachable]
    for host in (run.remotes[n.name] for n in nodes if n.name in run.remotes):
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


def _stored(run: Run) -> dict[str, tuple[str, ...]]:
    _, answer = _first(run, run.plan.etcd_members, _LIST)
    return parse(answer.stdout)


def standing(inventory: Path, roles: Sequence[Role]) -> Standing:
    """As store and etcd say. Failed when no etcd member answers, or no key was ever made."""
    there = _providers(inventory)
    with _connected(inventory, roles) as run:
        return Standing(providers=there, secrets=_stored(run))


@dataclass(frozen=True, kw_only=True)
class EncryptionKey:
    """See `Rotation`."""

    inventory: Path
    roles: tuple[Role, ...]
    say: Callable[[str], None]

    def stage(self) -> Stage:
        return _providers(self.inventory).stage

    def advance(self, stage: Stage) -> None:
        _, store = opened(self.inventory)
        encryption.advance(store, stage, dt.datetime.now(dt.UTC))

    def prove(self, stage: Stage) -> None:
        """Every apiserver was restarted with what the store says: that is an apply's own evidence. The Secrets are left."""
        if stage is not Stage.SWITCHED:
            return
        with _connected(self.inventory, self.roles) as run:
            seen, refused, attempts = self._seen(run), tuple[str, ...](), ATTEMPTS
            while seen.others and attempts:
                refused = self._rewrite(run, seen)
                seen, attempts = self._seen(run), attempts - 1
        if seen.others:
            why = f"the apiserver refused, of the last attempt: {', '.join(refused[:_TOLD])}; " if refused else ""
            raise Failed(
                f"{len(seen.others)} Secrets are not encrypted with {seen.providers.writes}: {', '.join(seen.others[:10])}; "
                f"{why}run the same command again: it resumes from here"
            )
        self.say(f"every Secret is encrypted with {seen.providers.writes}")

    def _seen(self, run: Run) -> Standing:
        return Standing(providers=_providers(self.inventory), secrets=_stored(run))

    def _rewrite(self, run: Run, seen: Standing) -> tuple[str, ...]:
        """What was refused: `REASON NAME`, each once."""
        self.say(f"rewriting {len(seen.others)} Secrets")
        journal = Journal(self.inventory, holder(VERB, new_id()), [])
        journal.begin()
        failure = "interrupted"
        try:
            master, answer = _first(run, run.plan.masters, _REWRITE)
            journal.step("encryption", master, (f"rewrite {len(seen.others)} Secrets with {seen.providers.writes}",))
            failure = ""
        except Failed as error:
            failure = str(error)
            raise
        finally:
            journal.end("failed" if failure else "done", error=failure)
        return tuple(dict.fromkeys(answer.stdout.splitlines()))


def rotate_key(inventory: Path, roles: tuple[Role, ...], notify: Callable[[Event], None]) -> Summary:
    """A new key for every Secret; the old one is forgotten. What fails is in the summary, or raised; run again, it goes on."""

    def say(text: str) -> None:
        notify(Event(kind="say", text=text))

    return rotate(
        EncryptionKey(inventory=inventory, roles=roles, say=say), partial(apply, inventory, roles, notify, verb=VERB), say
    )
