"""`kubewright dns`: reads and writes names in etcd, through etcdctl on an etcd host. etcd's administrator never leaves it."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Sequence

from kubewright.errors import BadInput, Failed, Problem
from kubewright.model.cluster import ETCD_CLIENT_PORT
from kubewright.model.etcd_rights import SKYDNS_PREFIX
from kubewright.spec import ClusterSpec
from kubewright.verbs.dns import records
from kubewright.verbs.dns.records import Record, Writes
from kubewright.verbs.kubectl import SSH_FAILED, captured_on

_PKI = "/etc/etcd/pki"
ETCDCTL = (
    f"/usr/local/bin/etcdctl --endpoints=https://127.0.0.1:{ETCD_CLIENT_PORT} --command-timeout=10s "
    f"--cacert={_PKI}/ca.crt --cert={_PKI}/root.crt --key={_PKI}/root.key"
)
_PROBE = f"{ETCDCTL} get {SKYDNS_PREFIX} --keys-only >/dev/null 2>&1"


def add(spec: ClusterSpec, name: str, kind: str, values: Sequence[str]) -> bool:
    """Give a name these records instead of those of the same type; whether anything changed. BadInput where it can't be."""
    wanted = records.asked(spec, name, kind, values)
    return _write(spec, records.adding(_pairs(spec), wanted))


def remove(spec: ClusterSpec, names: Sequence[str], kind: str = "") -> int:
    """Remove names, or their records of one type, in one transaction: all or none. The number of records. BadInput for names
    that are not there."""
    found = [*records.cluster_problems(spec)]
    if kind and kind.upper() not in records.TYPES:
        what = f"not a type of records ({kind})"
        found.append(Problem(where="--type", what=what, allowed=", ".join(records.TYPES), todo="choose one"))
    for name in dict.fromkeys(names):
        found += records.name_problems(spec, name)
    if found:
        raise BadInput(found)
    pairs = _pairs(spec)
    writes, missing = Writes(put={}, delete=()), list[Problem]()
    for name in dict.fromkeys(names):
        try:
            more = records.removing(pairs, name, kind.upper())
        except BadInput as error:
            missing += error.problems
        else:
            writes = Writes(put={**writes.put, **more.put}, delete=(*writes.delete, *more.delete))
    if missing:
        raise BadInput(missing)
    _write(spec, writes)
    after = {**{key: value for key, value in pairs.items() if key not in writes.delete}, **writes.put}
    return len(records.read(pairs)) - len(records.read(after))


def listed(spec: ClusterSpec) -> tuple[Record, ...]:
    """Every name that `add` keeps. BadInput in a cluster that keeps none."""
    if found := list(records.cluster_problems(spec)):
        raise BadInput(found)
    return records.read(_pairs(spec))


def _pairs(spec: ClusterSpec) -> dict[str, str]:
    """The keys and values of all zones."""
    gets = (f"{ETCDCTL} get --prefix {shlex.quote(records.key_of(zone))}/ -w json" for zone in spec.network.dns_zones)
    said = _etcdctl(spec, " && echo && ".join(gets))
    found: dict[str, str] = {}
    for line in filter(None, said.decode().splitlines()):
        for pair in json.loads(line).get("kvs") or ():
            found[_text(pair["key"])] = _text(pair.get("value", ""))
    return found


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode(errors="replace")


def _write(spec: ClusterSpec, writes: Writes) -> bool:
    if writes:
        _etcdctl(spec, f"exec {ETCDCTL} txn", writes.script.encode())
    return bool(writes)


def _etcdctl(spec: ClusterSpec, script: str, stdin: bytes = b"") -> bytes:
    done = captured_on(spec, spec.etcd_hosts, _PROBE, script, stdin, kind="etcd host", fault="its etcd does not answer")
    if done.returncode == SSH_FAILED:
        raise Failed("etcdctl: the SSH connection to the etcd host broke; run the same command again")
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise Failed(f"etcdctl: {said or f'exit status {done.returncode}'}")
    return done.stdout
