"""The add-ons of cluster.yaml: one task applies them, waits for them, and removes what none of them wants any more."""

from __future__ import annotations

import base64

from kubewright.plan import addons
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired
from kubewright.plan.role import Role, on_masters
from kubewright.releases.addons import METRICS_SERVER_PORT, TRAEFIK_PING_PORT
from pki import trust
from pki.authorities import KUBERNETES
from roles.addons.checks import CHECKS


def desired(context: Context) -> Desired:
    if not context.acts_for_masters:
        return Desired()
    values = {
        "domain": context.plan.domain,
        "authority-base64": base64.b64encode(trust.bundle(context.certificates, KUBERNETES.name)).decode(),
        "metrics-server-port": METRICS_SERVER_PORT,
        "traefik-ping-port": TRAEFIK_PING_PORT,
    }
    task = addons.task([addons.rendered(each, context, values) for each in context.plan.addons], context)
    return Desired(tasks=(task,) if task else ())


ROLE = Role(name="addons", runs_on=on_masters, after=("coredns", "lineage"), learns=True, desired=desired, checks=CHECKS)
