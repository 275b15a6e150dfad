"""Rotations that are killed in their stages, and then resumed or undone. Shared by `make test` and `make soak`."""

from __future__ import annotations

import re
import subprocess

from pki.stages import Stage
from tests.cluster.conftest import KUBEWRIGHT, Cluster, run
from tests.cluster.killing import authorities, converged

IN_EACH_STAGE = re.compile(r"^ca/\S+: stage \w+|^service-account: stage \w+")
AFTER_EACH_HOST_TOO = re.compile(rf"{IN_EACH_STAGE.pattern}|^\w+ +\w+(?= +\d+ changes, )")


def kill_rotation(cluster: Cluster, *arguments: str, at: re.Pattern[str]) -> list[str]:
    """`certs ARGUMENTS`, killed at each line with a beginning in `at` that no earlier run has printed, until it finishes.
    Returns these beginnings."""
    seen: list[str] = []
    while _killed_at_a_new_line(cluster, arguments, at, seen):
        assert len(seen) < 60, seen
    stages = {line.rpartition(" ")[2] for line in seen if ": stage " in line}
    assert stages == {Stage.INTRODUCED, Stage.SWITCHED, Stage.RETIRED}, seen
    return seen


def undo_rotation(cluster: Cluster, *arguments: str) -> str:
    """`certs ARGUMENTS`, killed with a stage on some hosts and undone, for each stage that can be undone."""
    before, changes = authorities(cluster), 2
    for stage in (Stage.INTRODUCED, Stage.SWITCHED):
        _killed_in(cluster, arguments, stage, changes)
        verb, *rest = arguments
        done = run(KUBEWRIGHT, "certs", verb, "-i", str(cluster.inventory), *rest, "--undo", timeout=1200)
        assert authorities(cluster) == before, (
            f"undone in stage {stage}, and other authorities than before: {done.stdout[-2000:]}"
        )
        converged(cluster)
    return f"{' '.join(arguments)}: undone in both stages before the drop"


def _killed_in(cluster: Cluster, arguments: tuple[str, ...], stage: Stage, changes: int) -> None:
    """A SIGKILL after so many changes in that stage; a change is one role on one host."""
    verb, *rest = arguments
    command = [KUBEWRIGHT, "certs", verb, "-i", str(cluster.inventory), *rest]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said, reached, left = [], False, changes
        for line in process.stdout:
            said.append(line)
            reached = reached or line.rstrip().endswith(f": stage {stage}")
            left -= reached and "changes," in line.split()
            if not left:
                process.kill()
                return
        raise AssertionError(f"it ended before {changes} changes in stage {stage}: {''.join(said)}")


def _killed_at_a_new_line(cluster: Cluster, arguments: tuple[str, ...], at: re.Pattern[str], seen: list[str]) -> bool:
    """Whether it was killed."""
    verb, *rest = arguments
    command = [KUBEWRIGHT, "certs", verb, "-i", str(cluster.inventory), *rest]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            found = at.match(line)
            if found and found[0] not in seen:
                process.kill()
                seen.append(found[0])
                return True
        assert process.wait() == 0, "".join(said)
    return False
