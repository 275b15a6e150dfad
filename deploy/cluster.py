"""Bring a cluster to what its cluster.yaml says, through stock pyinfra:

    pyinfra inventories/lab/inventory.py deploy/cluster.py          # shows the changes, then asks
    pyinfra --dry inventories/lab/inventory.py deploy/cluster.py    # shows them only
    pyinfra -y inventories/lab/inventory.py deploy/cluster.py       # asks nothing

`kubewright apply` runs the same steps, with progress around them.
"""

import sys
from pathlib import Path

# pyinfra runs this file by path: the checkout that it lies in is what it belongs to.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deploy.kubernetes import kubernetes

kubernetes()
