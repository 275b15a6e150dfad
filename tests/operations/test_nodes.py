"""The shell that labels and taints nodes, run with a kubectl and a curl that keep the nodes in a file.

Each round reads all nodes at once and patches them over one connection.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from roles.nodes.role import KUBECTL, desired
from tests.support.scenarios import scenario

_KUBECTL = """#!/bin/sh
echo get >> "$0.asked"
cat "${0%/*}/nodes"
"""
_CURL = """#!/bin/sh
echo "$2" >> "$0.asked"
"""
AWKS = [awk for awk in ("mawk", "gawk", "busybox") if shutil.which(awk)]


@dataclass(kw_only=True)
class Nodes:
    """A scratch folder with the programs in it."""

    folder: Path
    awk: str = AWKS[0]
    old: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)

    def run(self, wanted: str, there: str) -> list[tuple[str, dict[str, Any]]]:
        """The patches by node, when the nodes ignore them."""
        (task,) = desired(scenario("lab").context("m1")).tasks
        script = task.apply.replace(KUBECTL, str(self._program("kubectl", _KUBECTL)))
        script = script.replace("/etc/kubernetes/addons/nodes", str(self.folder / "old"))
        # One round: they never change here.
        script = script.replace("-le 120", "-le 1").replace("sleep 1", ":")
        self._program("curl", _CURL)
        awk = f'exec {self.awk} {"awk " if self.awk == "busybox" else ""}"$@"'
        self._program("awk", f"#!/bin/sh\n{awk}\n")
        (self.folder / "old").write_text(self.old)
        (self.folder / "new").write_text(wanted)
        (self.folder / "nodes").write_text(there)
        done = self._execute(script)
        self.status, self.said = done.returncode, done.stderr
        config = self.folder / "nodes.patches"
        return _patches(config.read_text())

    def _execute(self, script: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "here": str(self.folder),
            "new": str(self.folder / "new"),
            "LC_ALL": "C",
        }
        return subprocess.run(["sh", "-eu"], input=script, env=environment, capture_output=True, text=True, check=False)

    def _program(self, name: str, text: str) -> Path:
        program = self.folder / name
        program.write_text(text)
        program.chmod(0o755)
        return program


def _patches(config: str) -> list[tuple[str, dict[str, Any]]]:
    """A curl config file, read as curl does: requests separated by `next`, each with its own options."""
    found = []
    for request in filter(None, (part.strip() for part in f"\n{config}".split("\nnext\n"))):
        options = dict(line.split(" = ", 1) for line in request.splitlines() if " = " in line)
        if not options:
            continue
        assert options.keys() >= {"url", "request", "data", "header", "cacert", "cert", "key"}
        data = options["data"].removeprefix('"').removesuffix('"').replace('\\"', '"')
        found.append((options["url"].strip('"').rpartition("/")[2], json.loads(data)))
    return found


def _node(name: str, labels: str = "", taints: str = "", owns: str = "") -> str:
    return f"{name}\t77\tkubernetes.io/os=linux,{labels}\t{taints}\t{owns}\n"


@pytest.fixture(params=AWKS)
def nodes(tmp_path: Path, request: pytest.FixtureRequest) -> Nodes:
    return Nodes(folder=tmp_path, awk=request.param)


W1 = "node w1 zone,dedicated:NoSchedule\nlabel w1 zone=a\ntaint w1 dedicated=gpu:NoSchedule\n"
OWNS = "zone,dedicated:NoSchedule"


def test_missing_labels_and_taints_are_set_in_one_patch_per_node(nodes: Nodes) -> None:
    wanted = W1 + "node w2 zone\nlabel w2 zone=b\n"
    (first, second) = nodes.run(wanted, _node("w1") + _node("w2"))
    assert first == (
        "w1",
        {
            "metadata": {"resourceVersion": "77", "labels": {"zone": "a"}, "annotations": {"kubewright/owns": OWNS}},
            "spec": {"taints": [{"key": "dedicated", "effect": "NoSchedule", "value": "gpu"}]},
        },
    )
    assert second[1]["metadata"]["labels"] == {"zone": "b"}
    assert "spec" not in second[1], "its taints are left as they are"


def test_a_node_as_wanted_gets_no_patch(nodes: Nodes) -> None:
    assert nodes.run(W1, _node("w1", "zone=a,", "dedicated=gpu:NoSchedule,", OWNS)) == []
    assert (nodes.status, nodes.said) == (0, "")
    assert not (nodes.folder / "curl.asked").exists()


def test_other_labels_and_taints_stay_with_the_times_of_the_taints(nodes: Nodes) -> None:
    taints = "node.kubernetes.io/unreachable:NoExecute@2026-11-26T10:00:00Z,of-others=x:PreferNoSchedule,"
    ((_, patch),) = nodes.run(W1, _node("w1", "of-others=b,", taints, ""))
    assert patch["metadata"]["labels"] == {"zone": "a"}
    assert patch["spec"]["taints"] == [
        {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2026-11-26T10:00:00Z"},
        {"key": "of-others", "effect": "PreferNoSchedule", "value": "x"},
        {"key": "dedicated", "effect": "NoSchedule", "value": "gpu"},
    ]


def test_another_value_replaces_the_one_before(nodes: Nodes) -> None:
    ((_, patch),) = nodes.run(W1, _node("w1", "zone=b,", "dedicated=cpu:NoSchedule,", OWNS))
    assert patch["metadata"]["labels"] == {"zone": "a"}
    assert patch["spec"]["taints"] == [{"key": "dedicated", "effect": "NoSchedule", "value": "gpu"}]


def test_only_our_own_unwanted_labels_and_taints_are_removed(nodes: Nodes) -> None:
    there = _node("w1", "zone=a,of-others=b,", "dedicated=gpu:NoSchedule,dedicated=gpu:NoExecute,", OWNS)
    ((_, patch),) = nodes.run("node w1\n", there)
    assert patch["metadata"]["labels"] == {"zone": None}
    assert patch["metadata"]["annotations"] == {"kubewright/owns": None}
    assert patch["spec"]["taints"] == [{"key": "dedicated", "effect": "NoExecute", "value": "gpu"}]


def test_an_earlier_versions_file_counts_until_the_node_has_its_annotation(nodes: Nodes) -> None:
    nodes.old = "label w1 rack=7\ntaint w1 old=x:NoSchedule\nlabel w1 zone=a\n"
    there = _node("w1", "zone=a,rack=7,", "old=x:NoSchedule,dedicated=gpu:NoSchedule,")
    ((_, patch),) = nodes.run(W1, there)
    assert patch["metadata"]["labels"] == {"rack": None}
    assert patch["spec"]["taints"] == [{"key": "dedicated", "effect": "NoSchedule", "value": "gpu"}]
    assert nodes.run(W1, _node("w1", "zone=a,rack=7,", "dedicated=gpu:NoSchedule,", OWNS)) == [], "it was set by hand since"


def test_a_node_that_does_not_register_is_named(nodes: Nodes) -> None:
    assert nodes.run(W1, _node("w2")) == []
    assert nodes.status == 1
    assert nodes.said == "the labels and taints could not be set:\nnode w1 does not register\n"


def test_unmanaged_nodes_stay_unchanged(nodes: Nodes) -> None:
    assert nodes.run("node w1\n", _node("w1") + _node("stranger", "zone=a,", "", "zone")) == []


def test_a_hundred_and_fifty_nodes_are_asked_once_and_patched_over_one_connection(nodes: Nodes) -> None:
    names = [f"w{i}" for i in range(150)]
    wanted = "".join(f"node {name} rack\nlabel {name} rack={name}\n" for name in names)
    assert [name for name, _ in nodes.run(wanted, "".join(map(_node, names)))] == names
    rounds = len((nodes.folder / "kubectl.asked").read_text().splitlines())
    assert len((nodes.folder / "curl.asked").read_text().splitlines()) == rounds == 2, "they never change here"
