"""The script before etcd's start: etcd continues with its data, joins, or begins a new cluster; it does not start after a
loss of data."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubewright.plan.context import render


@dataclass(frozen=True, kw_only=True)
class Scratch:
    """A host's files, in a folder of the test."""

    folder: Path

    def make(self, *paths: str) -> None:
        for path in paths:
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).touch()

    def start(self) -> tuple[int, str, str]:
        """The exit status, the environment that etcd starts with, and what the journal gets."""
        paths = {name: self.folder / name for name in ("data", "mark", "joins", "environment")}
        script = render("etcd/before-start.sh.j2", **paths).decode()
        done = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=False)
        assert not done.stdout
        written = paths["environment"]
        return done.returncode, written.read_text() if written.exists() else "", done.stderr


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(folder=tmp_path)


WAL = "data/member/wal/0000000000000000-0000000000000000.wal"
EXISTING, NEW = "ETCD_INITIAL_CLUSTER_STATE=existing\n", "ETCD_INITIAL_CLUSTER_STATE=new\n"


@pytest.mark.parametrize("beside", [(), ("mark",), ("joins",), ("mark", "joins")])
def test_a_member_with_its_data_starts(scratch: Scratch, beside: tuple[str, ...]) -> None:
    scratch.make(WAL, *beside)
    assert scratch.start() == (0, EXISTING, "")


def test_a_host_that_was_never_a_member_begins_a_cluster(scratch: Scratch) -> None:
    assert scratch.start() == (0, NEW, "")


@pytest.mark.parametrize("beside", [(), ("mark",)])
def test_an_added_member_joins_with_an_empty_folder_whether_it_is_a_new_host_or_lost_its_disk(
    scratch: Scratch, beside: tuple[str, ...]
) -> None:
    scratch.make("joins", *beside)
    assert scratch.start() == (0, EXISTING, "")


@pytest.mark.parametrize(
    "left",
    [
        (),
        ("data/lost+found/x",),
        # An unfinished write-ahead log, or a snapshot alone, is no data.
        ("data/member/wal/0.tmp", "data/member/snap/db"),
    ],
)
def test_a_member_without_a_write_ahead_log_does_not_start_and_says_why(scratch: Scratch, left: tuple[str, ...]) -> None:
    scratch.make("mark", *left)
    status, environment, said = scratch.start()
    assert (status, environment) == (1, "")
    assert said == (
        f"etcd does not start: this host is a member, and its data is not in {scratch.folder}/data/member.\n"
        "Mount the disk, or move the folder back. If the data is lost, see docs/runbooks/etcd.md.\n"
    )


def test_the_environment_of_an_earlier_start_does_not_allow_a_start(scratch: Scratch) -> None:
    assert scratch.start()[0] == 0
    scratch.make("mark")
    assert scratch.start()[0] == 1


def test_a_member_starts_again_once_its_data_is_back(scratch: Scratch) -> None:
    scratch.make("mark")
    assert scratch.start()[0] == 1
    scratch.make(WAL)
    assert scratch.start() == (0, EXISTING, "")
