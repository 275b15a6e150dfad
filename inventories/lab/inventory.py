"""The hosts of the cluster.yaml beside this file, for stock pyinfra."""

import sys
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here.parents[1]))

from kubewright.hosts.inventory import pyinfra_groups

masters, workers, etcd = pyinfra_groups(here)
