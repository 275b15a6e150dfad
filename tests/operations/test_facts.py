"""The part of the observing command that asks the cluster, run with fake curl, kubectl and etcdctl in its path."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from kubewright.observe import facts, objects

_CURL = """#!/bin/sh
echo curl >> "$0.asked"
[ -z "${DOWN-}" ] || exit 7
for url; do case $url in https://*)
  kind=${url%%\\?*}; kind=${kind##*/}
  items=null; [ ! -f "${0%/*}/$kind" ] || items=$(cat "${0%/*}/$kind")
  printf '{"kind":"PartialObjectMetadataList","items":%s}\\n\\n200 %s\\n' "$items" "$url" ;;
esac; done
"""
# As etcdctl 3.7.3 prints it on a lab.
_ETCDCTL = """#!/bin/sh
echo "$*" >> "$0.asked"
[ -z "${DOWN-}" ] || exit 1
case "$*" in
  *"auth status") printf 'Authentication Status: %s\\nAuthRevision: 10\\n' "${AUTH-true}" ;;
  *"user get flannel --detail")
    printf 'User: flannel\\n\\nRole flannel\\nKV Read:\\n\\t[/coreos.com/network/, /coreos.com/network0) '
    printf '(prefix /coreos.com/network/)\\nKV Write:\\n\\t[/coreos.com/network/, /coreos.com/network0) '
    printf '(prefix /coreos.com/network/)\\n' ;;
  # Users of skydns alone.
  *"user get coredns --detail" | *"user get kube2sky --detail") exit 1 ;;
  *"user get "*" --detail")
    printf 'User: %s\\n\\nRole root\\nKV Read:\\n\\t[, <open ended>\\nKV Write:\\n\\t[, <open ended>\\n' "${8}" ;;
esac
"""
BINDING = {"metadata": {"name": "kubeadm:cluster-admins", "annotations": {objects.APPLIED: "ab", "of-others": "x"}}}


def _observed(folder: Path, *, master: bool = True, member: bool = True, **environment: str) -> dict[str, str]:
    for name, text in (("curl", _CURL), ("etcdctl", _ETCDCTL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "clusterrolebindings").write_text(json.dumps([BINDING]))
    if master:
        (folder / "admin.conf").write_text("clusters:\n- cluster:\n    server: https://127.0.0.1:6443\n")
    if member:
        (folder / "root.key").write_text("")
    script = facts.SCRIPT.replace("/etc/kubernetes/admin.conf", f"{folder}/admin.conf")
    script = script.replace("[ ! -f /etc/etcd/pki/root.key ]", f"[ ! -f {folder}/root.key ]")
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "LC_ALL": "C", **environment}
    text = f's() {{ echo "@@$1"; }}\n{script}\ns end\n'
    done = subprocess.run(["sh", "-c", text], env=environment, capture_output=True, text=True, check=True)
    sections: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("@@"):
            current = sections.setdefault(line.removeprefix("@@"), [])
        else:
            current.append(line)
    return facts.read(objects.read(sections["objects"]), (), sections["etcd-auth"], None)


def _asked(folder: Path, program: str) -> int:
    asked = folder / f"{program}.asked"
    return len(asked.read_text().splitlines()) if asked.exists() else 0


def test_a_master_with_a_member_reports_all_facts(tmp_path: Path) -> None:
    assert _observed(tmp_path) == {
        facts.API: "answers",
        facts.ETCD: "answers",
        "ClusterRoleBinding kubeadm:cluster-admins": "ab",
        facts.AUTHENTICATION: "on",
        "etcd's user root with the role root": "granted",
        "etcd's user kube-apiserver-etcd-client with the role root": "granted",
        "etcd's user flannel with the role flannel": "granted",
        "the right of etcd's role flannel to /coreos.com/network/": "readwrite",
    }
    assert _asked(tmp_path, "curl") == 1, "one process, whatever is asked"


def test_other_hosts_ask_nothing(tmp_path: Path) -> None:
    assert _observed(tmp_path, master=False, member=False) == {}
    assert [_asked(tmp_path, program) for program in ("curl", "etcdctl")] == [0, 0]


def test_without_an_answer_there_are_no_facts_and_etcd_is_asked_only_once(tmp_path: Path) -> None:
    assert _observed(tmp_path, DOWN="1") == {}
    assert _asked(tmp_path, "etcdctl") == 1, "each question would wait for its timeout"


def test_disabled_authentication_is_reported(tmp_path: Path) -> None:
    assert _observed(tmp_path, master=False, AUTH="false")[facts.AUTHENTICATION] == "off"


def _whole(metadata: str) -> list[str]:
    return [
        line
        for kind in objects.KINDS.values()
        for line in (f'{{"items":[{{"metadata":{metadata}}}]}}', "", f"200 https://127.0.0.1:6443{kind.path}?labelSelector=x")
    ]


@pytest.mark.parametrize("lines", range(0, 24, 3))
def test_an_answer_that_is_not_complete_gives_no_object_and_no_fact_of_one(lines: int) -> None:
    whole = _whole('{"name":"x"}')
    assert facts.API in facts.read(objects.read(whole), (), (), None)
    assert objects.read(whole[:lines]) is None
    assert facts.read(None, (), (), None) == {}


def test_an_object_that_somebody_else_applied_over_ours_counts_as_changed() -> None:
    assert facts.read(objects.read(_whole('{"name":"x","namespace":"a"}')), (), (), None)["Deployment a/x"] == ""


MARKED = f'"annotations":{{"{objects.APPLIED}":"ab"}}'
BY_US = '"managedFields":[{"manager":"kubewright","operation":"Apply"},{"manager":"kubelet","operation":"Update"}]'


@pytest.mark.parametrize(
    ("marks", "owned"),
    [
        (f"{MARKED},{BY_US}", True),
        (MARKED, False),
        (BY_US, False),
        (f'{MARKED},"managedFields":[{{"manager":"kubectl-client-side-apply","operation":"Update"}}]', False),
        (f'{MARKED},"managedFields":[{{"manager":"kubewright","operation":"Update"}}]', False),
        (f'{MARKED},{BY_US},"deletionTimestamp":"2026-11-26T10:00:00Z"', False),
    ],
    ids=["applied by kubewright", "a copy", "no checksum", "a copy, applied by kubectl", "not applied", "being deleted"],
)
def test_kubewright_owns_an_object_that_it_applied_and_no_copy_of_one(marks: str, owned: bool) -> None:
    listed = objects.read(_whole(f'{{"name":"x","labels":{{"{objects.TASK}":"t"}},{marks}}}'))
    assert listed is not None
    assert {(found.task, found.owned) for found in listed} == {("t", owned)}


def test_without_the_label_no_object_is_kubewrights() -> None:
    listed = objects.read(_whole(f'{{"name":"x","labels":{{"of":"others"}},{MARKED},{BY_US}}}'))
    assert listed is not None
    assert not any(found.owned for found in listed)


def test_objects_are_listed_in_all_namespaces_with_one_request_a_kind() -> None:
    assert [kind.path for kind in objects.KINDS.values() if "/namespaces/" in kind.path] == []
    assert all(objects.SCRIPT.count(f'"$a{kind.path}$q"') == 1 for kind in objects.KINDS.values())


def test_nodes_report_their_labels_their_taints_and_which_are_ours() -> None:
    six = "\tabc\tv1.37.1\tTrue\t\t192.0.2.1\t"
    lines = [f"m1{six}zone=a,\tdedicated=gpu:NoSchedule,lone:NoExecute,\tzone,dedicated:NoSchedule", f"w1{six}\t\t", "."]
    assert facts.read(None, lines, (), None) == {
        "the list of nodes": "known",
        "node m1": "registered",
        "node w1": "registered",
        "label zone of m1": "a",
        "taint dedicated:NoSchedule of m1": "gpu",
        "taint lone:NoExecute of m1": "",
        "the annotation kubewright/owns of m1": "zone,dedicated:NoSchedule",
        "the annotation kubewright/owns of w1": "",
    }
