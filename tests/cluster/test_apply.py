"""A second apply, and apply and verify after changes by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cluster.conftest import Cluster
from tests.cluster.reach import ask, on
from tests.cluster.seen import UNITS, local, see
from tests.cluster.waiting import until

pytestmark = pytest.mark.cluster

COMMANDS = 6
"""The maximum of remote commands per host in a run without changes."""
JOURNAL = "/var/lib/kubewright/journal.jsonl"
STARTED = "/var/lib/kubewright/started/"
"""kubewright's own record of each unit's start."""


@pytest.fixture(autouse=True)
def settled(cluster: Cluster) -> Iterator[None]:
    """Restores the cluster with `apply` after each test."""
    yield
    cluster.kubewright("apply")


def test_a_second_apply_changes_nothing_and_says_so(cluster: Cluster) -> None:
    cluster.kubewright("apply")
    before, files = see(cluster), local(cluster)
    assert len([k for k in before.what if k[1].startswith("unit:")]) == len(UNITS) * 5
    assert len([k for k in before.what if k[1].endswith("#")]) > 100
    done = cluster.kubewright("apply")
    assert "nothing to change on 5 hosts" in done.stdout
    commands = re.search(r"at most (\d+) commands a host; ([\d.]+) MB sent", done.stdout)
    assert commands is not None and int(commands[1]) <= COMMANDS, done.stdout
    assert float(commands[2]) < 1
    assert not see(cluster).touched(before)
    assert local(cluster) == files
    print(done.stdout)


def test_verify_passes_and_its_reports_can_be_parsed(cluster: Cluster, tmp_path: Path) -> None:
    report = tmp_path / "verify.xml"
    done = cluster.kubewright("verify", "--json", "--junit", str(report))
    results = json.loads(done.stdout)
    assert {r["host"] for r in results} == {h.name for h in cluster.lab.hosts}
    assert all(r["holds"] and not r["message"] for r in results)
    suite = ElementTree.parse(report).getroot()  # noqa: S314 we wrote it
    assert suite.tag == "testsuite" and int(suite.get("tests", "0")) == len(results) == len(suite.findall("testcase"))
    assert suite.get("failures") == "0" and not suite.findall(".//failure")
    said = cluster.kubewright("verify").stdout
    assert f"{len(results)} of {len(results)} checks hold" in said


def test_verify_names_a_stopped_unit_and_apply_starts_only_that(cluster: Cluster, tmp_path: Path) -> None:
    report = tmp_path / "verify.xml"
    cluster.kubewright("verify")
    before = see(cluster)
    cluster.ssh("w2", "systemctl stop kube-proxy.service")
    failed = cluster.kubewright("verify", "--json", "--junit", str(report), check=False)
    assert failed.returncode == 1
    assert {(r["host"], r["role"]) for r in json.loads(failed.stdout) if not r["holds"]} == {("w2", "kube_proxy")}
    cases = [c for c in ElementTree.parse(report).getroot().iter("testcase") if c.find("failure") is not None]  # noqa: S314
    assert {c.get("classname") for c in cases} == {"w2.kube_proxy"}
    shown = cluster.kubewright("verify", check=False)
    assert shown.returncode == 1 and re.search(r"w2 +kube_proxy .*FAILED", shown.stdout), shown.stdout
    cluster.kubewright("apply")
    touched = {(host, what) for host, what in see(cluster).touched(before) if what != JOURNAL}
    assert ("w2", "unit:kube-proxy.service") in touched
    assert touched <= {("w2", "unit:kube-proxy.service"), ("w2", f"{STARTED}kube-proxy.service")}
    cluster.verified()


MISDEEDS = (
    ("m2", "/etc/crictl.yaml", "rm {path}"),
    ("m3", "/etc/systemd/system/kubelet.service", "echo '# by hand' >> {path}"),
    ("w1", "/etc/kubernetes/kubelet.yaml", "echo '# by hand' >> {path}"),
    ("w2", "/etc/kubernetes/pki/kubelet-client.key", "chmod 0644 {path}"),
    ("w2", "/etc/kubernetes/pki/kube-proxy.key", "chown nobody {path}"),
    ("w2", "/usr/local/bin/crictl", "rm {path}"),
    ("m1", "/usr/local/bin/etcdctl", "ln -sfn /bin/false {path}"),
)
READERS = {"unit:kubelet.service", "unit:kube-proxy.service", f"{STARTED}kubelet.service", f"{STARTED}kube-proxy.service"}


def _ours(what: str) -> bool:
    """Whether it is kubewright's own journal or record."""
    return STARTED in what or JOURNAL in what


def test_apply_repairs_exactly_the_changes_by_hand(cluster: Cluster) -> None:
    cluster.kubewright("apply")
    before = see(cluster)
    for host, path, deed in MISDEEDS:
        cluster.ssh(host, deed.format(path=path))
    spoilt = see(cluster)
    wanted = {(host, path) for host, path, _ in MISDEEDS}
    assert spoilt.touched(before) == wanted
    done = cluster.kubewright("apply")
    after = see(cluster)
    assert "nothing to change" not in done.stdout
    assert {k: v for k, v in after.what.items() if not _ours(k[1])} == {k: v for k, v in before.what.items() if not _ours(k[1])}
    # Units that read one of those files may restart; nothing else may change on any host.
    hosts = {host for host, _ in wanted}
    rest = {(host, what) for host, what in after.touched(before) - wanted if what != JOURNAL}
    assert all(host in hosts and what in READERS for host, what in rest), rest
    assert "nothing to change on 5 hosts" in cluster.kubewright("apply").stdout


def _sync_period(cluster: Cluster, host: str) -> str:
    """kube-proxy's running configuration, from its own endpoint."""
    with on(cluster.lab, host):
        answer = ask("127.0.0.1", 10249, "/configz")
    assert answer.status == 200, str(answer)
    return str(answer.json["kubeproxy.config.k8s.io"]["configSyncPeriod"])


def test_apply_restarts_a_unit_that_runs_with_a_configuration_edited_by_hand(cluster: Cluster) -> None:
    """To correct the file is not enough: the process has read another one."""
    path, given = "/etc/kubernetes/kube-proxy.yaml", _sync_period(cluster, "w1")
    cluster.ssh("w1", f"echo 'configSyncPeriod: 7m' >> {path}; systemctl restart kube-proxy.service")
    edited = until("it runs with the edited file", lambda: (p := _sync_period(cluster, "w1")) != given and p, 15)
    cluster.kubewright("apply")
    assert "configSyncPeriod: 7m" not in cluster.ssh("w1", f"cat {path}").stdout
    until(f"it no longer runs with {edited}", lambda: _sync_period(cluster, "w1") == given, 15)


def test_apply_enables_a_unit_that_was_disabled_without_restarting_it(cluster: Cluster) -> None:
    cluster.kubewright("apply")
    before = see(cluster)
    cluster.ssh("w1", "systemctl disable kube-proxy.service")
    cluster.kubewright("apply")
    after = see(cluster)
    assert after.what["w1", "unit:kube-proxy.service"] == "active enabled "
    assert after.since["w1", "unit:kube-proxy.service"] == before.since["w1", "unit:kube-proxy.service"]


def test_kubectl_skips_a_master_whose_apiserver_does_not_serve(cluster: Cluster) -> None:
    """Standard input, output and exit status are those of kubectl on the next one."""
    pod = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kw-stdin, namespace: default}\n"
    assert cluster.kubectl("get", "--raw", "/readyz").stdout == "ok"
    cluster.ssh("m1", "systemctl stop kube-apiserver.service")
    created = cluster.kubectl("create", "-f", "-", stdin=pod)
    assert created.stdout == "configmap/kw-stdin created\n"
    again = cluster.kubectl("create", "-f", "-", stdin=pod, check=False)
    assert again.returncode == 1 and "AlreadyExists" in again.stderr and not again.stdout
    cluster.kubectl("-n", "default", "delete", "configmap", "kw-stdin")
    cluster.kubewright("apply")
    cluster.verified()
