"""A cluster as a pyinfra deploy, for deploy files of your own:

    from deploy.kubernetes import kubernetes

    kubernetes()

Each host's `kubewright_inventory` names the folder of cluster.yaml: `pyinfra_groups` sets it.
"""

from __future__ import annotations

from pathlib import Path

from pyinfra import host
from pyinfra.api import deploy

from deploy.waves import CLUSTER
from kubewright.run.stock import bring, stock_for


@deploy("Kubernetes")  # type: ignore[untyped-decorator]  # pyinfra is not typed for strict mode
def kubernetes() -> None:
    """Every step of the cluster on this host. pyinfra must work on all hosts of cluster.yaml."""
    stock = stock_for(Path(host.data.kubewright_inventory), CLUSTER)
    for step in stock.steps:
        bring(name=step.title, stock=stock, step=step)
