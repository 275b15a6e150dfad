"""Bring a live cluster to another release through stock pyinfra; the same command continues after an interruption:

    pyinfra inventories/lab/inventory.py deploy/upgrade.py --data to=1.37.1              # shows the changes, then asks
    pyinfra --dry inventories/lab/inventory.py deploy/upgrade.py --data to=1.37.1        # shows them only
    pyinfra -y inventories/lab/inventory.py deploy/upgrade.py --data to=1.37.1           # asks nothing

`--data max_unavailable=2` drains two nodes at once, `--data pod_eviction_timeout=600` gives pods more seconds. Checks, order and
drains are those of `kubewright upgrade`; notes in the log say what can't be taken back. There is no rollback here. cluster.yaml
names the release once the last wave has ended.
"""

import sys
from pathlib import Path

# pyinfra runs this file by path: the checkout that it lies in is what it belongs to.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pyinfra import host

from deploy.waves import CLUSTER
from kubewright.run.stock import bring
from kubewright.verbs.upgrade.stock import upgrade_for

stock = upgrade_for(
    Path(host.data.kubewright_inventory),
    CLUSTER,
    str(host.data.get("to", "")),
    max_unavailable=str(host.data.get("max_unavailable", "")),
    seconds=str(host.data.get("pod_eviction_timeout", "")),
)
for step in stock.steps:
    bring(name=step.title, stock=stock, step=step)
