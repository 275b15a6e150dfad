"""Checks that etcd accepts data on one of its hosts: no alarm is raised, and a write through this member can be read."""

from __future__ import annotations

import re
from typing import Any

from kubewright.model.cluster import ETCD_CLIENT_PORT, Node, Plan
from kubewright.plan.role import Check
from roles.etcd.checks import ETCDCTL

_HERE = f"{ETCDCTL} --endpoints=https://127.0.0.1:{ETCD_CLIENT_PORT} --command-timeout=5s"
WAY_OUT = {
    "NOSPACE": "etcd takes no writes, because its quota is used up; raise the quota (extra_args etcd quota-backend-bytes) or "
    "free space, then disarm the alarm: docs/runbooks/etcd.md has the steps",
    "CORRUPT": "this member's data differs from the others'; replace the member as docs/runbooks/etcd.md says, then "
    "`etcdctl alarm disarm`",
}


def _alarms(host: Any, _plan: Plan, node: Node) -> None:
    answer = host.run(f"{_HERE} alarm list && {_HERE} endpoint status -w fields")
    assert answer.rc == 0, f"its alarms could not be asked: {answer.stderr.strip()[-300:]}"
    raised = alarms_of(answer.stdout)
    assert not raised, "; ".join(f"alarm {name} on this member: {WAY_OUT.get(name, 'see etcd.io')}" for name in raised)


def alarms_of(said: str) -> list[str]:
    """The alarms of the member itself, by name, from etcdctl's alarm list and its own status."""
    own = re.search(r'^"MemberID" : (\d+)', said, re.MULTILINE)
    # Some builds of etcdctl print two spaces between the fields [google.golang.org/protobuf: internal/encoding/text, detrand].
    raised = re.findall(r"^memberID:(\d+) +alarm:(\w+)", said, re.MULTILINE)
    return [alarm for member, alarm in raised if not own or member == own[1]]


def _write(host: Any, _plan: Plan, node: Node) -> None:
    """One key for each member: the next check overwrites and removes the key of a killed one."""
    key = f"/kubewright/verify/{node.name}"
    read = f'[ "$({_HERE} get --print-value-only {key})" = $w ]'
    answer = host.run(f"w=$$; {_HERE} put {key} $w && {read}; s=$?; {_HERE} del {key} && exit $s")
    why = " ".join(answer.stderr.split())[-300:] or "another value was read than written"
    assert answer.rc == 0, f"a write through this member failed: {why}; see the alarms, the other members, journalctl -u etcd"


DATA_CHECKS = (
    Check(title="no alarm is raised", run=_alarms),
    Check(title="a write through this member is read again", run=_write),
)
