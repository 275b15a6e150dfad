"""The file of pinned sums: a writer waits for others, never for itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CLOSED_LATER = """
import os, sys, types
from pathlib import Path
from kubewright.artifacts import lockfile
lockfile.os = types.SimpleNamespace(**{**vars(os), "close": lambda descriptor: None})
pins = lockfile.LockFile(Path(sys.argv[1]))
pins.pin("one", "a" * 64)
pins.pin("two", "b" * 64)
"""


def test_a_second_sum_is_pinned_even_if_close_is_delayed(tmp_path: Path) -> None:
    """As with gevent's os.close; the second pin would wait without end for the first one's lock."""
    path = tmp_path / "pins.json"
    subprocess.run([sys.executable, "-c", CLOSED_LATER, str(path)], timeout=60, check=True)
    assert list(json.loads(path.read_text())) == ["one", "two"]
