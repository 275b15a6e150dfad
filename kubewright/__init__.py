"""A highly available Kubernetes cluster on machines of your own."""

import sys
from pathlib import Path

_TOP = Path(__file__).with_name("_top")
if _TOP.is_dir():
    # Installed from the wheel: pki, roles and deploy lie in there (decision 0012).
    sys.path.insert(0, str(_TOP))
