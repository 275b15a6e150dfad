"""Run by test_wheel.py with the Python that the wheel is installed in: renders hosts, then computes their remaining changes."""

from __future__ import annotations

import dataclasses
import json
import sys

import kubewright
from deploy.waves import ROLES
from kubewright.hosts.push import prelude as push
from kubewright.hosts.script import stage
from kubewright.plan import leftovers, peers
from kubewright.plan.changes import all_changes
from kubewright.run.preflight import Cluster, problems
from pki.store import Entry, Store
from tests.golden import rendering
from tests.support.hosts import carried_out
from tests.support.scenarios import scenario


def look(name: str, host: str) -> dict[str, object]:
    made = scenario(name)
    context = made.context(host)
    first = all_changes(leftovers.everything(ROLES, context), context.observed)
    observed = context.observed
    for desired in leftovers.everything(ROLES, context).values():
        observed = carried_out(desired, observed)
    lines = leftovers.wanted(role.desired(context) for role in ROLES if role.runs_on(context.node))
    settled = made.context(host, dataclasses.replace(observed, installed=tuple(sorted(lines))))
    left = all_changes(leftovers.everything(ROLES, settled), settled.observed)
    cluster = Cluster(
        plan=made.plan, roles=ROLES, peer_ports=peers.peer_ports(made.plan, ROLES), observed={host: context.observed}, entries={}
    )
    return {
        "rendered": rendering.host(context),
        "first": sum(len(change.sentences()) for change in first.values()),
        "left": [sentence for change in left.values() for sentence in change.sentences()],
        "script": len(stage(first["base"], context.system, lambda _file: b"").files["act.sh"]),
        "push": len(push()),
        "unfit": [problem.where for problem in problems(cluster, {host: context.observed.clock})],
    }


if __name__ == "__main__":
    found = look(sys.argv[1], sys.argv[2])
    modules = {name: str(sys.modules[name].__file__) for name in ("deploy", "pki", "roles")}
    print(json.dumps({**found, "kubewright": kubewright.__file__, "modules": modules, "store": [Entry.__name__, Store.__name__]}))
