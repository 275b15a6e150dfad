"""A highly available Kubernetes cluster on machines of your own."""

import sys
from pathlib import Path

_TOP = Path(__file__).with_name("_top")
if (
    _TOP.is_dir()
):  # installed from the wheel: pki, roles and deploy lie in there (docs/decisions/0012-one-package-in-the-wheel.md)
    sys.path.insert(0, str(_TOP))
