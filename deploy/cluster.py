"""Bring a cluster to what its cluster.yaml says, through stock pyinfra:

    pyinfra -y inventories/lab/inventory.py deploy/cluster.py

`kubewright apply` runs the same steps, with progress around them.
"""

import sys
from pathlib import Path

# pyinfra runs this file by path: the checkout that it lies in is what it belongs to.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pyinfra import host
from pyinfra.operations import python

from deploy.steps import ROLES
from kubewright.run.steps import steps
from kubewright.run.stock import call, run_for

run = run_for(Path(host.data.kubewright_inventory), ROLES)
for step in steps(ROLES):
    python.call(name=step.title, function=call, run=run, step=step)
