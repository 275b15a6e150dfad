"""Builds with a stand-in for `go`: checks before and after, locks, kills. The lab's tests run the real `go`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from kubewright.artifacts import Cache, SourceConfig, Wanted, gomod, kube_bench, obtain
from kubewright.artifacts.images import write_folder
from kubewright.artifacts.recipes import GCC, Program, Recipe
from kubewright.errors import Failed

PAUSE = Wanted(component="pause", name="pause", version="3.10.2", arch=gomod.machine_arch())
GOOD = f'cp "{Path(sys.executable).resolve()}" out/build'


def fake_go(folder: Path, build: str) -> Path:
    """A `go` with that shell as its `build`; each call is recorded in `calls`."""
    folder.mkdir(exist_ok=True)
    go = folder / "go"
    go.write_text(f'#!/bin/sh\necho "$@" >> "{folder}/calls"\nenv > "{folder}/env"\n{build}\n')
    go.chmod(0o755)
    return go


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = fake_go(tmp_path / "bin", GOOD)
    monkeypatch.setattr(gomod, "find_go", lambda: str(path))
    return path


def calls(go: Path) -> list[str]:
    log = go.parent / "calls"
    return log.read_text().splitlines() if log.exists() else []


def test_a_binary_is_built_once(go: Path, cache: Cache, said: list[str]) -> None:
    source = SourceConfig(kind="gomod")
    (first,) = obtain([PAUSE], source, cache, said.append)
    assert obtain([PAUSE], source, cache, said.append) == [first]
    assert len(calls(go)) == 1 and "-trimpath" in calls(go)[0] and first.source == "gomod"
    assert said[0].endswith("building 1 program from Go modules") and "built in" in said[1] and len(said) == 2


def test_go_gets_its_caches_and_inherits_the_rest(
    go: Path, cache: Cache, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOPROXY", "off")
    gomod.build("pause", "3.10.2", PAUSE.arch, cache, said.append)
    environment = (go.parent / "env").read_text().splitlines()
    assert f"GOMODCACHE={cache.root}/go/mod" in environment and f"GOCACHE={cache.root}/go/build" in environment
    assert {"GOTOOLCHAIN=local", "CGO_ENABLED=0", "GOPROXY=off", f"GOARCH={PAUSE.arch}"} <= set(environment)


def test_a_build_that_fails_shows_the_compilers_last_lines(go: Path, cache: Cache, said: list[str]) -> None:
    fake_go(go.parent, "echo 'go: downloading x v1'; echo 'main.go:3: undefined: x'; exit 1")
    with pytest.raises(Failed, match=r"go build ended with 1; its last lines:\nmain\.go:3: undefined: x$"):
        gomod.build("pause", "3.10.2", PAUSE.arch, cache, said.append)
    assert cache.peek(f"gomod-{PAUSE.key}") is None and not list((cache.root / "work").iterdir())


def test_a_file_that_is_no_program_for_the_architecture_is_refused(go: Path, cache: Cache, said: list[str]) -> None:
    other = {"amd64": "arm64", "arm64": "amd64"}[PAUSE.arch]
    with pytest.raises(Failed, match=f"no {other} program"):
        gomod.build("pause", "3.10.2", other, cache, said.append)


def test_an_unavailable_module_is_reported(go: Path, cache: Cache, said: list[str]) -> None:
    fake_go(go.parent, """echo '{"Error": "403 Forbidden"}'; exit 1""")
    with pytest.raises(Failed, match=r"coredns .*not to be had \(403 Forbidden\); check GOPROXY"):
        gomod.build("coredns", "1.15.0", PAUSE.arch, cache, said.append)


def test_missing_packages_are_listed_with_the_command(
    go: Path, cache: Cache, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    recipe = Recipe(
        component="runc",
        version="1",
        programs=(Program(name="runc", package="x"),),
        packages=(GCC, ("libseccomp-dev", "/nonexistent/seccomp.h")),
    )
    monkeypatch.setattr(gomod, "recipe_for", lambda *_: recipe)
    with pytest.raises(Failed, match="run: apt-get install -y gcc libseccomp-dev"):
        gomod.build("runc", "1", PAUSE.arch, cache, said.append)
    assert said == [], "nothing is announced that can't be begun"


def test_a_binary_that_says_another_version_is_refused(tmp_path: Path) -> None:
    """This Python stands in for the binary: it prints another version."""
    recipe = Recipe(component="x", version="99.9", programs=())
    program = Program(name="x", package="x")
    with pytest.raises(Failed, match=r"says another version \('Python 3"):
        gomod._verify(recipe, program, Path(sys.executable).resolve(), PAUSE.arch)


# A shell starts background jobs with SIGINT ignored, and children inherit that: CI may run in such a job.
RUN = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "import sys; from pathlib import Path; from kubewright.artifacts import *; from kubewright.artifacts import gomod\n"
    "gomod.find_go = lambda: sys.argv[2]\n"
    "gomod.build('pause', '3.10.2', gomod.machine_arch(), Cache(Path(sys.argv[1])), print)\n"
)


def test_after_a_kill_the_next_run_waits_for_the_running_build_and_builds_again(
    tmp_path: Path, cache: Cache, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started, ended = tmp_path / "started", tmp_path / "ended"
    slow = fake_go(tmp_path / "slow", f'echo half > out/build; touch "{started}"; sleep 1; touch "{ended}"')
    child = subprocess.Popen([sys.executable, "-c", RUN, str(cache.root), str(slow)], stdout=subprocess.DEVNULL)
    while not started.exists():
        assert child.poll() is None
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert cache.peek(f"gomod-{PAUSE.key}") is None and not ended.exists()
    good = fake_go(tmp_path / "good", GOOD)
    monkeypatch.setattr(gomod, "find_go", lambda: str(good))
    gomod.build("pause", "3.10.2", PAUSE.arch, cache, said.append)
    assert ended.exists() and cache.peek(f"gomod-{PAUSE.key}") is not None


def test_an_interrupted_build_leaves_no_compiler_behind(tmp_path: Path, cache: Cache) -> None:
    started, ended = tmp_path / "started", tmp_path / "ended"
    slow = fake_go(tmp_path / "slow", f'touch "{started}"; sleep 1; touch "{ended}"')
    child = subprocess.Popen(
        [sys.executable, "-c", RUN, str(cache.root), str(slow)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not started.exists():
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    assert child.wait(5) != 0
    time.sleep(1.1)
    assert not ended.exists()


def test_two_processes_at_once_build_once(tmp_path: Path, cache: Cache) -> None:
    go = fake_go(tmp_path / "bin", f"sleep 0.2; {GOOD}")
    children = [subprocess.Popen([sys.executable, "-c", RUN, str(cache.root), str(go)]) for _ in range(2)]
    assert [child.wait(20) for child in children] == [0, 0] and len(calls(go)) == 1


def test_a_folder_of_the_module_is_kept_as_a_tar_that_is_always_the_same(
    go: Path, cache: Cache, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "module"
    (module / "cfg" / "cis").mkdir(parents=True)
    (module / "cfg" / "cis" / "node.yaml").write_text("checks\n")
    (module / "go.mod").write_text("module example.invalid/x\n\ngo 1.26\n")
    fake_go(
        go.parent,
        f'''if [ "$1" = mod ]; then echo '{{"GoMod": "{module}/go.mod", "Dir": "{module}"}}'; else
cp "{Path(sys.executable).resolve()}" out/kube-bench; fi''',
    )
    monkeypatch.setattr(gomod, "says_version", lambda *_: True)
    program, checks = obtain(kube_bench(PAUSE.arch), SourceConfig(kind="gomod"), cache, said.append)
    assert program.name == "kube-bench"
    with tarfile.open(checks.path) as tar:
        assert [(m.name, m.mtime, m.uid) for m in tar] == [("cis/node.yaml", 0, 0)]
        held = tar.extractfile("cis/node.yaml")
        assert held is not None and held.read() == b"checks\n"
    again = write_folder(module / "cfg", tmp_path / "again.tar")
    assert again.read_bytes() == checks.path.read_bytes()
