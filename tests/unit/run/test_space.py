"""The space that a run needs on a host, by file system."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from deploy.waves import ROLES
from kubewright.errors import Problem
from kubewright.observe.observed import Observed
from kubewright.plan.changes import Changes
from kubewright.plan.desired import File, Payload
from kubewright.run.preflight import space
from tests.support.scenarios import scenario

MIB = 1 << 20


def _payload(name: str, size: int, packed: int, there: int = 0) -> Payload:
    path = f"/opt/kubewright/{name}/1-a/{name}"
    return Payload(
        path=path,
        sha256="a" * 64,
        size=size * MIB,
        mode=0o755,
        local=Path("/nonexistent"),
        packed=packed * MIB,
        there=there * MIB,
    )


SENT = Changes(payloads=(_payload("kubelet", 300, 60), _payload("etcd", 200, 50)))
IMPORTED = Changes(late=(File(path="/etc/x", content=b"", fills=("/var/lib/containerd", 80 * MIB)),))


def _host(free: dict[str, int], file_systems: dict[str, str]) -> Observed:
    """`free`: MiB by folder."""
    host = scenario("lab").observed("m1")
    return dataclasses.replace(host, free_kib={path: mib << 10 for path, mib in free.items()}, file_systems=file_systems)


def _found(host: Observed, *changes: Changes) -> list[Problem]:
    return list(space.findings("m1", host, changes))


APART = {"/": "/dev/a", "/opt": "/dev/b", "/var/lib": "/dev/c"}


def test_what_is_sent_is_counted_unpacked_with_the_largest_compressed_one_beside() -> None:
    """300 + 200 unpacked, 60 compressed, 100 to spare."""
    assert _found(_host({"/opt": 660}, {}), SENT) == []
    (problem,) = _found(_host({"/opt": 659}, {}), SENT)
    assert problem.where == "m1"
    assert problem.what == "too little space under /opt/kubewright (659 MiB free)"
    assert problem.allowed == "at least 660 MiB: 560 MiB for /opt/kubewright, and 100 MiB to spare"


def test_what_a_broken_push_left_is_not_counted_again() -> None:
    change = Changes(payloads=(_payload("kubelet", 300, 60, there=60),))
    assert _found(_host({"/opt": 400}, {}), change) == []
    assert len(_found(_host({"/opt": 399}, {}), change)) == 1


def test_folders_on_one_file_system_share_its_space() -> None:
    free, one = {"/": 739, "/opt": 739, "/var/lib": 739}, dict.fromkeys(("/", "/opt", "/var/lib"), "/dev/a")
    (problem,) = _found(_host(free, one), SENT, IMPORTED)
    assert problem.what == "too little space under /opt/kubewright and /var/lib/containerd (739 MiB free)"
    assert problem.allowed.startswith("at least 740 MiB: 560 MiB for /opt/kubewright, 80 MiB for /var/lib/containerd, and")
    assert _found(_host(free, APART), SENT, IMPORTED) == [], "apart, each has room"


def test_each_file_system_that_is_too_small_is_named() -> None:
    found = _found(_host({"/": 9999, "/opt": 1, "/var/lib": 1}, APART), SENT, IMPORTED)
    assert [problem.what.split(" (")[0] for problem in found] == [
        "too little space under /opt/kubewright",
        "too little space under /var/lib/containerd",
    ]


def test_a_folder_with_a_file_system_of_its_own_counts_there() -> None:
    """/opt is full, /opt/kubewright is a disk of its own."""
    free = {"/": 1, "/opt": 1, "/opt/kubewright": 9999}
    assert _found(_host(free, {"/": "/dev/a", "/opt": "/dev/a", "/opt/kubewright": "/dev/b"}), SENT) == []
    assert len(_found(_host({"/": 1}, {"/": "/dev/a"}), SENT)) == 1, "what is not listed lies on the nearest one above"


def test_a_run_that_sends_nothing_asks_for_nothing() -> None:
    assert _found(_host({"/opt": 0, "/var/lib": 0}, {})) == []
    assert _found(_host({"/opt": 0, "/var/lib": 0}, {}), Changes(files=(File(path="/etc/x", content=b"x"),))) == []


def test_the_images_of_a_release_are_counted_where_containerd_keeps_them() -> None:
    containerd = next(role for role in ROLES if role.name == "containerd")
    context = scenario("lab").context("w1")
    fills = [file.fills for file in containerd.desired(context).late]
    images = [image for role in ROLES for image in role.images]
    assert sorted(images) == ["coredns", "pause"]
    assert fills == [("/var/lib/containerd", 4 * context.bundle.image(name).size) for name in ("pause", "coredns")]
