"""Stock pyinfra on a part of the hosts: it would lock and count only that part, so it is refused, and ends with an error."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sshd import LOOPBACK, Sshd, authorized, made_key, serving

REPOSITORY = Path(__file__).parents[3]
SPEC = """name: a
ssh: {{key: key, known_hosts: known_hosts}}
hosts:
  - {{name: m1, address: 192.0.2.11, roles: [master], ssh: {{host: {host}, port: {m1}}}}}
  - {{name: w1, address: 192.0.2.21, roles: [worker], ssh: {{host: {host}, port: {w1}}}}}
"""


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[dict[str, Sshd]]:
    keys = authorized(made_key(tmp_path / "key"))
    found = {name: Sshd(runs=False, keys=keys) for name in ("m1", "w1")}
    with serving(found["m1"]), serving(found["w1"]):
        ports = {name: sshd.port for name, sshd in found.items()}
        (tmp_path / "cluster.yaml").write_text(SPEC.format(host=LOOPBACK, **ports))
        (tmp_path / "known_hosts").write_text("".join(sshd.known_hosts() for sshd in found.values()))
        text = (REPOSITORY / "inventories/lab/inventory.py").read_text()
        (tmp_path / "inventory.py").write_text(text.replace("str(here.parents[1])", repr(str(REPOSITORY))))
        yield found


def pyinfra(folder: Path, *options: str, deploy: str = "cluster") -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("pyinfra"))
    command = [
        program,
        *(() if "--dry" in options else ("-y",)),
        *options,
        str(folder / "inventory.py"),
        str(REPOSITORY / f"deploy/{deploy}.py"),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=120)


@pytest.mark.parametrize("options", [("--limit", "w1"), ("--limit", "m1"), ("--exclude", "m1")], ids=" ".join)
def test_a_part_of_the_hosts_is_refused_with_the_verb_that_leaves_hosts_out(
    hosts: dict[str, Sshd], tmp_path: Path, options: tuple[str, str]
) -> None:
    out = "m1" if options in (("--limit", "w1"), ("--exclude", "m1")) else "w1"
    done = pyinfra(tmp_path, *options)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert f"{out}: pyinfra was told to leave it out" in said and f"kubewright apply -i {tmp_path} --without {out}" in said
    assert hosts["m1"].lines == hosts["w1"].lines == []


def test_a_host_that_pyinfra_could_not_connect_to_stops_the_others(hosts: dict[str, Sshd], tmp_path: Path) -> None:
    hosts["w1"].keys = frozenset()
    done = pyinfra(tmp_path)
    assert done.returncode != 0
    assert "w1: pyinfra could not connect to it" in done.stdout + done.stderr
    assert hosts["m1"].lines == []


def test_one_host_after_another_is_refused_before_anything_is_changed(hosts: dict[str, Sshd], tmp_path: Path) -> None:
    done = pyinfra(tmp_path, "--serial")
    assert done.returncode != 0
    assert all("s os; cat /etc/os-release" in script for sshd in hosts.values() for script in sshd.scripts)


def test_a_dry_run_on_hosts_that_are_not_fit_names_them_and_changes_nothing(hosts: dict[str, Sshd], tmp_path: Path) -> None:
    done = pyinfra(tmp_path, "--dry")
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "nothing was changed" in said and "m1: " in said and "w1: " in said, said
    assert "Traceback" not in said, said
    assert all("s os; cat /etc/os-release" in script for sshd in hosts.values() for script in sshd.scripts)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "name the release: --data to=1.37.1"),
        (("--data", "to=1.99.0"), "not supported (1.99.0)"),
        (("--data", "to=1.37.1", "--data", "max_unavailable=none"), "max_unavailable is no number"),
    ],
    ids=["no release", "unknown release", "no number"],
)
def test_an_upgrade_with_wrong_words_ends_before_anything_is_done(
    hosts: dict[str, Sshd], tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    done = pyinfra(tmp_path, *options, deploy="upgrade")
    assert done.returncode != 0 and said in done.stdout + done.stderr
    assert all("s os; cat /etc/os-release" not in script for sshd in hosts.values() for script in sshd.scripts)


def test_an_upgrade_of_hosts_without_a_cluster_is_refused(hosts: dict[str, Sshd], tmp_path: Path) -> None:
    before = (tmp_path / "cluster.yaml").read_text()
    done = pyinfra(tmp_path, "--dry", "--data", "to=1.37.1", deploy="upgrade")
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "nothing was changed" in said and "Traceback" not in said, said
    assert (tmp_path / "cluster.yaml").read_text() == before
