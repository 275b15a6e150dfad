"""Workgroups: a namespace each, with its quota, limits, Pod Security level and roles.

A workgroup that leaves cluster.yaml keeps its Namespace and all that people made in it. Its quota, limits and roles go.
"""

from __future__ import annotations

import json

from kubewright.plan.cluster_tasks import cluster_task
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired
from kubewright.plan.role import Role, on_masters
from roles.workgroups.checks import CHECKS, NAME
from roles.workgroups.objects import objects


def desired(context: Context) -> Desired:
    if not context.acts_for_masters:
        return Desired()
    tasks = []
    for group in context.plan.workgroups:
        manifest = "---\n".join(f"{json.dumps(one)}\n" for one in objects(group))
        tasks.append(cluster_task(NAME, f"apply the workgroup {group.name}", manifest.encode()))
    return Desired(tasks=tuple(tasks))


ROLE = Role(name=NAME, runs_on=on_masters, after=("rbac",), desired=desired, checks=CHECKS)
