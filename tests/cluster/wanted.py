"""`python -m tests.cluster.wanted INVENTORY`: the wanted content of every managed file, as JSON: host, path, SHA-256 or `->
target`.

A process of its own, because kubewright's connections patch their whole process. It changes no host.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from deploy.waves import CLUSTER, ROLES
from kubewright.model.lineage import PATH as LINEAGE
from kubewright.observe.observed import INSTALLED
from kubewright.plan import leftovers
from kubewright.run.connection import connected, execute
from kubewright.run.run import Run
from kubewright.run.session import Session
from kubewright.run.steps import before_changes
from kubewright.spec import load


def wanted(inventory: Path) -> dict[str, dict[str, str]]:
    """By host and path. The record of what is installed is there as it is when every role is done."""
    session = Session(inventory=inventory, spec=load(inventory), roles=ROLES)
    with connected(session):
        run = Run(session=session, waves=CLUSTER)
        execute(run, before_changes())
    if run.failure is not None:
        raise run.failure
    return {name: _of_host(run, name) for name in run.observed}


def _of_host(run: Run, name: str) -> dict[str, str]:
    context = run.context(name)
    parts = [role.desired(context) for role in ROLES if role.runs_on(context.node)]
    found = {file.path: file.sha256 for part in parts for file in (*part.files, *part.late)}
    found |= {payload.path: payload.sha256 for part in parts for payload in part.payloads}
    found |= {link.path: f"-> {link.target}" for part in parts for link in part.links}
    # A new cluster's identity is known only at the end.
    found.pop(LINEAGE, None)
    record = "".join(f"{line}\n" for line in sorted(leftovers.wanted(parts)))
    return found | {INSTALLED: hashlib.sha256(record.encode()).hexdigest()}


if __name__ == "__main__":
    print(json.dumps(wanted(Path(sys.argv[1]))))
