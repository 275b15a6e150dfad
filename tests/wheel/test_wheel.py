"""The wheel, built and installed into an environment of its own, works like the checkout. Nothing is downloaded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


@dataclass(frozen=True)
class Installed:
    """`outside`: a folder that is no checkout, with the examples and the golden files, and without the program."""

    wheel: Path
    python: Path
    outside: Path

    def run(self, *command: str, folder: str = ".") -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.run(command, cwd=self.outside / folder, env=environment, capture_output=True, text=True, check=False)

    def kubewright(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(self.python.with_name("kubewright")), *arguments)

    @property
    def site_packages(self) -> Path:
        (found,) = (self.python.parents[1] / "lib").glob("python3.*/site-packages")
        return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=TOP, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    place = folder / "environment"
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--quiet", "install", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(pip, cwd=folder, check=True, capture_output=True)
    outside = folder / "outside"
    for name in ("inventories", "tests/golden", "tests/support"):
        shutil.copytree(TOP / name, outside / name, ignore=shutil.ignore_patterns("secrets", "journal", "logs", "backups"))
    shutil.copy(TOP / "tests/wheel/inside.py", outside / "inside.py")
    made = Installed(wheel=wheel, python=python, outside=outside)
    # Its dependencies come from the locked environment, without the checkout installed there: pth files count only in
    # a Python's own site-packages.
    (made.site_packages / "locked.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return made


def test_site_packages_get_one_package(installed: Installed) -> None:
    names = {name.partition("/")[0] for name in zipfile.ZipFile(installed.wheel).namelist()}
    assert names == {"kubewright", "kubewright-0.1.0.dist-info"}


def test_every_file_that_is_read_at_run_time_is_in_the_wheel(installed: Installed) -> None:
    folders = ("kubewright", "pki", "roles", "deploy", "templates", "addons")
    files = [file for folder in folders for file in (TOP / folder).rglob("*") if file.is_file() and file.suffix != ".pyc"]
    there = set(zipfile.ZipFile(installed.wheel).namelist())
    moved = {"templates/": "kubewright/_templates/", "addons/": "kubewright/_addons/", "kubewright/": "kubewright/"}

    def packed(name: str) -> str:
        first = name.partition("/")[0] + "/"
        return moved.get(first, f"kubewright/_top/{first}") + name.removeprefix(first)

    wanted = {packed(str(file.relative_to(TOP))) for file in files}
    assert {"kubewright/hosts/act.sh", "kubewright/_templates/kubeconfig.j2"} <= wanted
    assert wanted - there == set()
    assert not [name for name in there if name.endswith(".pyc")]


def test_init_writes_an_inventory_that_validates(installed: Installed) -> None:
    written = installed.kubewright("init", "mine")
    assert (written.returncode, written.stderr) == (0, "")
    assert installed.kubewright("validate", "-i", "mine").returncode == 0


def test_bad_input_exits_3_as_from_a_checkout(installed: Installed) -> None:
    refused = installed.kubewright("validate", "-i", "nowhere")
    assert (refused.returncode, "Traceback" in refused.stderr) == (3, False)


def test_every_verb_has_help(installed: Installed) -> None:
    for verb in ("apply", "plan", "verify", "certs", "artifacts", "user", "lab"):
        assert installed.kubewright(verb, "--help").returncode == 0, verb


@pytest.mark.parametrize(("scenario", "host"), [("lab", "m1"), ("el10", "w1")])
def test_a_host_is_rendered_to_the_golden_bytes_and_a_settled_one_needs_no_changes(
    installed: Installed, scenario: str, host: str
) -> None:
    ran = installed.run(str(installed.python), "inside.py", scenario, host)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    packages = str(installed.site_packages)
    assert found["kubewright"].startswith(packages)
    assert all(path.startswith(f"{packages}/kubewright/_top/") for path in found["modules"].values())
    assert found["rendered"] == (TOP / "tests/golden" / scenario / f"{host}.txt").read_text()
    assert found["first"] > 0, "a host without anything needs something, or the next line says nothing"
    assert found["left"] == []


def test_it_starts_in_a_folder_that_has_roles_of_its_own(installed: Installed) -> None:
    folder = installed.outside / "ansible"
    for name in ("roles", "pki"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise ImportError('not ours')\n")
    (folder / "deploy.py").write_text("raise ImportError('not ours')\n")
    line = "import sys; sys.path.insert(0, '.'); import kubewright.cli.app, deploy.waves, kubewright.verbs.apply"
    ran = installed.run(str(installed.python), "-c", line, folder="ansible")
    assert (ran.returncode, ran.stderr) == (0, "")
