"""The Vagrantfile's machines are the hosts of inventories/vagrant."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

TOP = Path(__file__).parents[2]
MACHINE = re.compile(r'"(\w+)" => \{ address: "([\d.]+)", ssh_port: ([\d_]+), memory: (\w+) \}')


def test_machines_and_hosts_are_the_same() -> None:
    machines = {
        name: (address, int(port.replace("_", "")))
        for name, address, port, _ in MACHINE.findall((TOP / "Vagrantfile").read_text())
    }
    hosts = YAML(typ="safe", pure=True).load((TOP / "inventories/vagrant/cluster.yaml").read_text())["hosts"]
    assert machines == {host["name"]: (host["address"], host["ssh"]["port"]) for host in hosts}
    assert all(f"machines/{host['name']}/" in host["ssh"]["key"] for host in hosts)


@pytest.mark.parametrize("box", [None, "debian/bookworm64"])
def test_vagrant_accepts_the_file(box: str | None, tmp_path: Path) -> None:
    vagrant = shutil.which("vagrant")
    if not vagrant:
        assert os.environ.get("CI") != "true", "vagrant must be installed under CI: apt install vagrant"
        pytest.skip("vagrant is not installed")
    # Its state goes to the test's own folder; nothing is fetched to validate a file.
    environment = {
        **os.environ,
        "VAGRANT_HOME": str(tmp_path / "home"),
        "VAGRANT_DOTFILE_PATH": str(tmp_path / "state"),
        "VAGRANT_CHECKPOINT_DISABLE": "1",
        **({"KUBEWRIGHT_BOX": box} if box else {}),
    }
    done = subprocess.run(
        [vagrant, "validate", "-p"], cwd=TOP, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Vagrantfile validated successfully." in done.stdout
