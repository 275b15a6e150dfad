"""What roles say of their folders: observed, and emptied by a reset."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploy.waves import ROLES
from kubewright.observe.observed import OWN
from kubewright.plan.desired import Desired
from kubewright.plan.places import emptied, left_to_others, places
from kubewright.plan.role import Folder, Role, on_every_host
from kubewright.verbs.reset import wipe_script
from tests.support.scenarios import scenario


def _role(*folders: Folder, paths: tuple[str, ...] = ()) -> Role:
    return Role(name="x", runs_on=on_every_host, folders=folders, paths=paths, desired=lambda _context: Desired())


FILES, DATA = Folder(path="/etc/x"), Folder(path="/var/lib/x", holds="data")
SHARED = (Folder(path="/opt/cni", shared=True), Folder(path="/opt/cni/bin", shared=True, holds="data"))


def test_a_folder_of_files_is_observed_whole_and_one_of_data_alone() -> None:
    found = places((_role(FILES, DATA, paths=("/etc/x.conf",)),))
    assert found.folders == ("/etc/x",)
    assert found.alone == tuple(sorted(("/etc/x.conf", "/var/lib/x", *OWN)))


def test_a_folder_that_two_roles_have_is_observed_once() -> None:
    assert places((_role(FILES), _role(FILES))).folders == ("/etc/x",)


def test_a_reset_empties_what_is_not_shared_and_removes_shared_folders_from_the_inside_out() -> None:
    roles = (_role(FILES, DATA, *SHARED),)
    assert emptied(roles) == ("/etc/x", "/var/lib/x")
    assert left_to_others(roles) == ("/opt/cni/bin", "/opt/cni")


def test_a_reset_empties_no_folder_that_others_use() -> None:
    forbidden = {
        "/",
        "/etc",
        "/opt",
        "/usr/local/bin",
        "/var/lib",
        "/var/log",
        "/run",
        "/etc/cni/net.d",
        "/opt/cni/bin",
        "/etc/coredns",
    }
    assert not forbidden & set(emptied(ROLES))
    assert {"/etc/cni/net.d", "/opt/cni/bin"} <= set(left_to_others(ROLES))


def test_every_folder_of_data_that_components_leave_is_emptied() -> None:
    wanted = {"/var/lib/etcd", "/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni", "/run/flannel", "/var/log/kubernetes"}
    assert wanted <= set(emptied(ROLES))


def test_the_script_that_wipes_a_host_is_posix_shell(tmp_path: Path) -> None:
    script = tmp_path / "wipe.sh"
    script.write_text(wipe_script(scenario("lab").plan, ROLES))
    subprocess.run(["dash", "-n", script], check=True)
    assert "ip -4 route flush root 10.244.0.0/16 via 10.90.0.11 2>/dev/null\n" in script.read_text()
    assert "flush root 10.244.0.0/16 2>" not in script.read_text(), "other routes in the pods' range are not kubewright's"
    assert " / " not in next(line for line in script.read_text().splitlines() if line.startswith("for folder in "))
