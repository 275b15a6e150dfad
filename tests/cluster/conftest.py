"""Real components on the lab. One cluster serves all tests that do not need a fresh one.

KUBEWRIGHT_TEST_INVENTORY names the inventory of a running cluster, for work on the tests themselves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubewright import lab
from kubewright.artifacts import SourceConfig, obtain_all
from kubewright.artifacts.gomod import machine_arch
from kubewright.model.build import make_plan
from kubewright.releases import DEFAULT
from kubewright.spec import load
from tests.cluster.waiting import until
from tests.cluster.workloads import Workloads

REPOSITORY = Path(__file__).parents[2]
KUBEWRIGHT = str(Path(sys.executable).with_name("kubewright"))
LAB_NAME = "test"
THREE = "three"
GIVEN = "KUBEWRIGHT_TEST_INVENTORY"

SOAK = "KUBEWRIGHT_SOAK"
"""Set by `make soak`, which runs the tests marked `soak`, and by hand to run one of them."""


SHARED = {"cluster": LAB_NAME, "three_masters": THREE}
"""Fixtures that several files share, in order, and their labs. Two labs at the same time would slow each other down."""


def _turn(item: pytest.Item) -> int:
    names = getattr(item, "fixturenames", ())
    return next((turn for turn, fixture in enumerate(SHARED) if fixture in names), len(SHARED))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that take too long for `make test` are deselected, not skipped:

    CI counts a skipped test as failed. Tests that share a cluster run one after the other.
    """
    long = [] if os.environ.get(SOAK) else [item for item in items if item.get_closest_marker("soak")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
    items.sort(key=_turn)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """A shared lab is taken down once no later test needs it."""
    yield
    turn = _turn(item)
    if turn < len(SHARED) and nextitem is not None and _turn(nextitem) != turn and not os.environ.get(GIVEN):
        kubewright("lab", "down", "--name", list(SHARED.values())[turn])


Done = subprocess.CompletedProcess[str]


def run(*command: str, stdin: str | None = None, check: bool = True, timeout: float = 300) -> Done:
    """A program's exit status and output; an error of the test, with both, when it fails and `check` is set."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def kubewright(*arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 900) -> Done:
    return run(KUBEWRIGHT, *arguments, stdin=stdin, check=check, timeout=timeout)


def write_inventory(folder: Path, lab_name: str, hosts: str = "", extra: str = "") -> Path:
    """A copy of inventories/lab for the lab of that name, with other hosts if `hosts` has some."""
    folder.mkdir(parents=True, exist_ok=True)
    text = (REPOSITORY / "inventories/lab/cluster.yaml").read_text()
    text = text.replace("lab: demo", f"lab: {lab_name}").replace("/lab/demo/", f"/lab/{lab_name}/")
    if hosts:
        text = text[: text.index("\nhosts:") + 1] + hosts
    (folder / "cluster.yaml").write_text(text + extra)
    (folder / "inventory.py").write_text(
        (REPOSITORY / "inventories/lab/inventory.py").read_text().replace("str(here.parents[1])", repr(str(REPOSITORY)))
    )
    return folder


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster on a lab, and the ways to reach it."""

    inventory: Path
    lab_name: str

    @property
    def lab(self) -> lab.Lab:
        return lab.load(self.lab_name)

    def kubewright(self, verb: str, *arguments: str, check: bool = True, timeout: float = 900) -> Done:
        return kubewright(verb, "-i", str(self.inventory), *arguments, check=check, timeout=timeout)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 300) -> Done:
        """kubectl on any master that answers."""
        return kubewright("kubectl", "-i", str(self.inventory), "--", *arguments, stdin=stdin, check=check, timeout=timeout)

    def verified(self, seconds: float = 120) -> None:
        """Wait until `verify` passes. After a restart, leases move and endpoints change, which takes time."""

        def holds() -> bool:
            done = self.kubewright("verify", "--json", check=False)
            failed = [result for result in json.loads(done.stdout) if not result["holds"]]
            assert not failed, failed
            return done.returncode == 0

        until("verify holds", holds, seconds)

    def ssh(
        self,
        host: str,
        command: str,
        user: str = "root",
        stdin: str | None = None,
        check: bool = True,
        timeout: float = 300,
    ) -> Done:
        return kubewright(
            "lab",
            "ssh",
            "--name",
            self.lab_name,
            "--user",
            user,
            host,
            "--",
            command,
            stdin=stdin,
            check=check,
            timeout=timeout,
        )

    def exec(self, *command: str, check: bool = True, timeout: float = 300) -> Done:
        """A command on this machine, where the hosts' addresses are reachable."""
        return kubewright("lab", "exec", "--name", self.lab_name, "--", *command, check=check, timeout=timeout)

    def stop(self, host: str) -> None:
        kubewright("lab", "stop", "--name", self.lab_name, host)

    def start(self, *hosts: str) -> None:
        kubewright("lab", "start", "--name", self.lab_name, *hosts)


@pytest.fixture(scope="session")
def test_image() -> str:
    """The reference of agnhost's image, with busybox and tar."""
    return obtain_all(DEFAULT, machine_arch(), SourceConfig(), print).image("agnhost").reference


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, test_image: str) -> Iterator[Cluster]:
    """Five hosts, three of them masters, as in inventories/lab; each has the test image."""
    if given := os.environ.get(GIVEN):
        name = next(
            line.split()[1] for line in (Path(given) / "cluster.yaml").read_text().splitlines() if line.startswith("lab:")
        )
        found = Cluster(inventory=Path(given), lab_name=name)
        import_test_image(found)
        yield found
        return
    kubewright("lab", "down", "--name", LAB_NAME)
    try:
        kubewright("lab", "up", "--name", LAB_NAME)
        found = Cluster(inventory=write_inventory(tmp_path_factory.mktemp("inventory"), LAB_NAME), lab_name=LAB_NAME)
        print(found.kubewright("apply").stdout)
        import_test_image(found)
        yield found
    finally:
        kubewright("lab", "down", "--name", LAB_NAME)


MASTERS = """hosts:
  - {name: m1, address: 10.90.0.11, roles: [master, worker]}
  - {name: m2, address: 10.90.0.12, roles: [master]}
  - {name: m3, address: 10.90.0.13, roles: [master]}
"""


@pytest.fixture(scope="session")
def three_masters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three hosts, all of them masters. Each file that changes the cluster leaves a serving one, except the last."""
    kubewright("lab", "down", "--name", THREE)
    try:
        kubewright("lab", "up", "--name", THREE, "--hosts", "m1,m2,m3")
        found = Cluster(inventory=write_inventory(tmp_path_factory.mktemp("inventory"), THREE, MASTERS), lab_name=THREE)
        found.kubewright("apply")
        yield found
    finally:
        kubewright("lab", "down", "--name", THREE)


# Pinned: a kubelet with a full disk would delete an image that no pod uses yet, and no registry has it.
IMPORT = "ctr -n k8s.io images import - && ctr -n k8s.io images label {image} io.cri-containerd.pinned=pinned"


def import_test_image(found: Cluster) -> None:
    """agnhost's image, into every host's containerd."""
    image = obtain_all(DEFAULT, machine_arch(), SourceConfig(), print).image("agnhost")
    for host in found.lab.hosts:
        with image.path.open("rb") as file:
            command = [KUBEWRIGHT, "lab", "ssh", "--name", found.lab_name, host.name, "--"]
            command.append(IMPORT.format(image=image.reference))
            subprocess.run(command, stdin=file, capture_output=True, check=True, timeout=300)


@pytest.fixture(scope="session")
def workloads(cluster: Cluster, test_image: str) -> Workloads:
    """Test pods on every host of `cluster`, ready."""
    found = Workloads(cluster=cluster, plan=make_plan(load(cluster.inventory)), image=test_image)
    found.deploy()
    return found
