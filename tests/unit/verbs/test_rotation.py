"""A rotation goes through its stages in order, each brought to the hosts and proven first, wherever it was killed before."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from kubewright.errors import Failed
from kubewright.verbs.apply import Summary
from kubewright.verbs.rotate.loop import rotate
from pki.stages import Stage

WHOLE = [
    "bring settled",
    "bring introduced",
    "prove introduced",
    "bring switched",
    "prove switched",
    "bring retired",
    "prove retired",
]


class Killed(BaseException):
    """A process that is gone runs no handler of ours."""


def _summary(failure: Exception | None = None) -> Summary:
    return Summary(
        changed={}, undone={}, unmanaged=(), without=(), seconds={}, total=0, commands={}, sent={}, failure=failure
    )  # fmt: skip


@dataclass
class Cluster:
    """The store's stage, and what was done so far; dies before its `dies`-th deed."""

    at: Stage = Stage.SETTLED
    done: list[str] = field(default_factory=list)
    dies: int = -1
    fails: str = ""

    def _do(self, what: str) -> None:
        if self.dies == 0:
            raise Killed
        self.dies -= 1
        self.done.append(what)

    def stage(self) -> Stage:
        return self.at

    def prove(self, stage: Stage) -> None:
        self._do(f"prove {stage}")
        if self.fails == f"prove {stage}":
            raise Failed("the cluster does not show it")

    def advance(self, stage: Stage) -> None:
        assert self.at is stage
        if stage is not Stage.SETTLED:
            assert self.done[-2:] == [f"bring {stage}", f"prove {stage}"]
        self.at = stage.following

    def bring(self) -> Summary:
        self._do(f"bring {self.at}")
        return _summary(Failed("m1 does not answer") if self.fails == f"bring {self.at}" else None)


def _rotate(cluster: Cluster) -> Summary:
    return rotate(cluster, cluster.bring, lambda _line: None)


def test_each_stage_is_on_every_host_and_proven_before_the_next() -> None:
    cluster = Cluster()
    assert _rotate(cluster).failure is None
    assert cluster.done == WHOLE
    assert cluster.at is Stage.SETTLED


@pytest.mark.parametrize("deeds", range(len(WHOLE)))
def test_killed_at_any_point_the_same_command_goes_on_to_the_end_of_the_same_rotation(deeds: int) -> None:
    cluster = Cluster(dies=deeds)
    with pytest.raises(Killed):
        _rotate(cluster)
    left, cluster.done, cluster.dies = cluster.at, [], -1
    _rotate(cluster)
    assert cluster.at is Stage.SETTLED
    begun_again = "bring settled" in cluster.done
    assert begun_again == (left is Stage.SETTLED), "a rotation that was under way is ended, no second one is begun"


@pytest.mark.parametrize("what", [deed for deed in WHOLE if deed.startswith("bring")])
def test_hosts_that_could_not_be_brought_there_keep_it_in_its_stage(what: str) -> None:
    cluster = Cluster(fails=what)
    assert isinstance(_rotate(cluster).failure, Failed)
    assert cluster.done[-1] == what
    assert cluster.at == what.removeprefix("bring ")


@pytest.mark.parametrize("what", [deed for deed in WHOLE if deed.startswith("prove")])
def test_what_the_cluster_does_not_show_is_not_gone_on_from(what: str) -> None:
    cluster = Cluster(fails=what)
    with pytest.raises(Failed, match="does not show it"):
        _rotate(cluster)
    assert cluster.at == what.removeprefix("prove ")
