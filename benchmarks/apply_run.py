"""One `apply` in a process of its own, its summary and CPU seconds as JSON: `python -m benchmarks.apply_run INVENTORY`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from deploy.steps import ROLES
from kubewright.verbs.apply import apply


def main(inventory: Path) -> int:
    """Print the run's own summary. Non-zero when the run failed, with the error on standard error."""
    summary = apply(inventory, ROLES, lambda event: print(event.step, event.host, event.text, file=sys.stderr))
    if summary.failure is not None:
        print(summary.failure, file=sys.stderr)
        return 1
    changed = [[role, host, len(lines)] for (role, host), lines in summary.changed.items()]
    rows = {"seconds": summary.seconds, "total": summary.total, "commands": summary.commands, "sent": summary.sent}
    print(json.dumps({**rows, "changed": changed, "cpu": time.process_time()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
