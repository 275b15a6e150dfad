"""`plan`, over hosts in memory: it reads hosts and the cache, and starts, fetches and writes nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from typer.testing import CliRunner

from kubewright.artifacts import gomod
from kubewright.cli.app import app
from kubewright.errors import ATTENTION, Failed
from kubewright.releases import DEFAULT
from kubewright.run import run as run_module
from kubewright.run.run import Run
from kubewright.run.session import Session
from kubewright.run.steps import Step, run_step
from kubewright.verbs import apply as engine
from tests.support.fleet import FakeHost
from tests.support.scenarios import REPOSITORY, fake_bundle, scenario

COMMAND = f"kubewright artifacts fetch --version {DEFAULT.kubernetes}"


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lab's, with fresh hosts that answer and an empty cache."""
    folder = tmp_path / "inventory"
    folder.mkdir()
    shutil.copy(REPOSITORY / "inventories/single/cluster.yaml", folder)
    monkeypatch.setenv("KUBEWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gomod, "machine_arch", lambda: "amd64")
    made = scenario("single")

    @contextlib.contextmanager
    def connected(session: Session) -> Iterator[None]:
        for node in made.plan.nodes:
            state = dataclasses.replace(made.observed(node.name), clock=time.time())
            session.hosts[node.name] = FakeHost(name=node.name, state=state, log=[])
        yield None

    def execute(run: Run, steps: tuple[Step, ...]) -> None:
        for step in steps:
            gevent.joinall([gevent.spawn(run_step, run, step, name) for name in run.hosts])

    monkeypatch.setattr(engine, "connected", connected)
    monkeypatch.setattr(engine, "execute", execute)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    monkeypatch.setattr(subprocess, "Popen", lambda *_a, **_k: pytest.fail("a program was started"))
    return folder


def _plan(inventory: Path, *words: str) -> Any:
    return CliRunner().invoke(app, ["plan", "-i", str(inventory), *words])


def test_with_an_empty_cache_it_says_what_is_missing_and_exits_2(inventory: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in inventory.iterdir()}
    done = _plan(inventory)
    assert done.exit_code == ATTENTION, done.output
    assert f"not on this machine (amd64): kube-apiserver {DEFAULT.kubernetes} amd64," in done.output
    assert "about 17 min on two cores" in done.output
    assert COMMAND in done.output
    assert {path: path.read_bytes() for path in inventory.iterdir()} == before
    assert not (tmp_path / "cache").exists()


def test_changes_that_need_no_artifact_are_shown_as_usual_and_the_others_with_a_stand_in(inventory: Path) -> None:
    output = _plan(inventory).output
    folder = f"/opt/kubewright/kubelet/{DEFAULT.kubernetes}-unknown"
    assert "write /etc/systemd/system/kubelet.service" in output
    assert f"send {folder}/kubelet (not on this machine yet)" in output
    assert f"link /usr/local/bin/kubelet -> {folder}/kubelet" in output
    assert "create user etcd" in output


def test_json_has_the_missing_artifacts(inventory: Path) -> None:
    found = json.loads(_plan(inventory, "--json").stdout)
    (missing,) = found["missing"]
    assert f"kubelet {DEFAULT.kubernetes} amd64" in missing["names"]
    assert missing["command"].startswith(COMMAND)


def test_a_plan_with_missing_artifacts_is_not_saved(inventory: Path, tmp_path: Path) -> None:
    done = _plan(inventory, "-o", str(tmp_path / "p.kw"))
    assert isinstance(done.exception, Failed)
    assert "some are not on this machine" in str(done.exception)
    assert COMMAND in str(done.exception)
    assert "link /usr/local/bin/kubelet" in done.output, "it is shown all the same"
    assert not (tmp_path / "p.kw").exists()


def test_a_plan_with_every_artifact_cached_does_not_mention_them_and_is_saved(
    inventory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "at_hand", lambda release, *_, **_k: fake_bundle(release))
    done = _plan(inventory, "-o", str(tmp_path / "p.kw"))
    assert done.exit_code == ATTENTION
    assert "not on this machine" not in done.output
    assert json.loads((tmp_path / "p.kw").read_text())["artifacts"]
    assert json.loads(_plan(inventory, "--json").stdout)["missing"] == []
