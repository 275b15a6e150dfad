"""The readiness of a kubelet: the real shell, with fakes of the API and systemd."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from roles.kubelet.ready import ready
from tests.support.scenarios import scenario

PLAN = scenario("lab").plan
BEGAN, SAID = "2026-11-26T17:35:32Z", "Thu 2026-11-26 17:35:32 UTC"
VERSION = f"v{PLAN.release.kubernetes}"


def _node(version: str = VERSION, heard: str = "2026-11-26T17:35:33Z", **conditions: str) -> dict[str, Any]:
    has = {"MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True", **conditions}
    return {
        "kind": "Node",
        "metadata": {"name": "w1", "labels": {"type": "x"}, "managedFields": [{"f:status": {"f:kubeletVersion": {}}}]},
        "status": {
            "conditions": [
                {"type": t, "status": s, "lastHeartbeatTime": heard, "reason": "R", "message": 'it says "type":"Ready" {'}
                for t, s in has.items()
            ],
            "addresses": [{"type": "InternalIP", "address": "10.90.0.21"}, {"type": "Hostname", "address": "w1"}],
            "nodeInfo": {"machineID": "0", "kubeletVersion": version, "kubeProxyVersion": ""},
        },
    }


def _asked(folder: Path, node: object, indent: int | None) -> subprocess.CompletedProcess[str]:
    (folder / "node.json").write_text(node if isinstance(node, str) else json.dumps(node, indent=indent, separators=None))
    (folder / "curl").write_text('#!/bin/sh\ncase "$*" in *healthz*) echo ok ;; *) cat node.json ;; esac\n')
    (folder / "systemctl").write_text(f"#!/bin/sh\necho '{SAID}'\n")
    for name in ("curl", "systemctl"):
        (folder / name).chmod(0o755)
    environment = {"PATH": f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TZ": "Asia/Kolkata"}
    script = ready(PLAN, PLAN.node("w1"))
    return subprocess.run(["sh", "-uc", script], cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(params=[None, 2], ids=["compact", "indented"])
def indent(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("heard", [BEGAN, "2026-11-26T17:35:40Z", "2027-01-01T00:00:00Z"])
def test_a_node_that_is_ready_and_has_reported_since_the_start(tmp_path: Path, indent: int | None, heard: str) -> None:
    done = _asked(tmp_path, _node(heard=heard), indent)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (_node(heard="2026-11-26T17:35:31Z"), "has not reported to the API since it was started"),
        (_node(DiskPressure="True"), "has DiskPressure and evicts pods"),
        (_node(MemoryPressure="True", PIDPressure="True"), "has MemoryPressure PIDPressure and"),
        (_node(Ready="False"), "is not Ready (itsays"),
        (_node(Ready="Unknown"), "is not Ready"),
        (_node(version="v1.30.0"), f"runs v1.30.0, not {VERSION}"),
        ({"kind": "Status", "code": 404}, "the API does not tell about the node w1"),
        ("", "the API does not tell about the node w1"),
    ],
)
def test_a_node_that_is_not_ready_gives_the_reason(tmp_path: Path, indent: int | None, node: object, why: str) -> None:
    done = _asked(tmp_path, node, indent)
    assert done.returncode != 0
    assert why in done.stderr
