"""Answers of the API, etcd and a host's files, as types."""

from __future__ import annotations

import base64
import dataclasses
import json
import subprocess
from pathlib import Path

import pytest

from kubewright.model import lineage
from kubewright.model.lineage import Lineage, Member, Recorded, Unreadable
from kubewright.observe import facts, live_text
from kubewright.observe.live import PodSubnet, host, live_of
from kubewright.observe.live_script import FLAGS, sections
from tests.support.scenarios import recorded

NODES = (
    "m1\t32d6ac88357dcba3913f34dd1bc5dfff\tv1.37.1\tTrue\t\t192.0.2.11",
    "w1\tc10daa4fb81252c17a6a4d86197e2fa0\tv1.37.0\tUnknown\ttrue\t192.0.2.31",
    ".",
)
API = """{
  "kind": "Namespace", "apiVersion": "v1",
  "metadata": {"name": "kube-system", "uid": "0c7c3e2a", "creationTimestamp": "2026-11-01T00:00:00Z"}
}
{"kind": "ServiceCIDR", "metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16"]}}

{"kind": "Service", "metadata": {"name": "kube-dns"}, "spec": {"clusterIP": "10.96.0.10"}}
{"issuer": "https://kubernetes.default.svc.cluster.local", "jwks_uri": "x"}
""".splitlines()
ETCD = (
    '{"header":{"cluster_id":72072145064353062,"member_id":1},"members":[{"ID":8705393637325999234,"name":"m2","peerURLs":'
    '["https://192.0.2.12:2380"],"clientURLs":["https://192.0.2.12:2379"]},{"ID":1,"peerURLs":["https://192.0.2.11:2380"]}]}',
    '{"header":{"cluster_id":72072145064353062},"alarms":[{"memberID":255,"alarm":1}]}',
    '{"header":{},"kvs":[{"key":"L2NvcmVvcy5jb20vbmV0d29yay9jb25maWc=","value":"eyJOZXR3b3JrIjogIjEwLjI0NC4wLjAvMTYiLCAiU3VibmV0'
    'TGVuIjogMjQsICJCYWNrZW5kIjogeyJUeXBlIjogInZ4bGFuIn19"}],"count":1}',
    '{"header":{}}',
)
RECORD = Lineage(
    name="prod",
    uid="0c7c3e2a",
    created="2026-11-01T00:00:00Z",
    etcd_id="100be005fd907d26",
    etcd_token="prod",
    members=(Member(name="m1", id="1", peer_urls=("https://192.0.2.11:2380",)),),
    settings={"network.pods": "10.244.0.0/16"},
    first_services="10.96.0.0/16",
    hosts={"machine": Recorded(name="m1", address="192.0.2.11", roles=("master", "etcd"), kubernetes="1.37.1")},
)


def test_the_apis_answer() -> None:
    found = live_text.api(NODES, API)
    assert found is not None
    assert (found.uid, found.created) == ("0c7c3e2a", "2026-11-01T00:00:00Z")
    assert (found.services, found.dns, found.domain) == ("10.96.0.0/16", "10.96.0.10", "cluster.local")
    m1, w1 = found.nodes
    assert (m1.name, m1.kubernetes, m1.ready, m1.schedulable, m1.address) == ("m1", "1.37.1", True, True, "192.0.2.11")
    assert (w1.machine_id, w1.ready, w1.schedulable) == ("c10daa4fb81252c17a6a4d86197e2fa0", False, False)


@pytest.mark.parametrize("nodes", [(), NODES[:-1]], ids=["nobody was asked", "the list is cut short"])
def test_an_api_that_does_not_list_its_nodes_has_not_answered(nodes: tuple[str, ...]) -> None:
    assert live_text.api(nodes, API) is None


def test_a_part_that_the_api_refuses_is_empty() -> None:
    """Before the first binding the administrator may not read these."""
    found = live_text.api(NODES, ['{"kind": "Status", "code": 403}', "curl: noise", '{"kind": "Status", "code": 403}'])
    assert found is not None and (found.uid, found.services, found.dns, found.domain) == ("", "", "", "")


def test_etcds_answer() -> None:
    found = live_text.etcd(ETCD)
    assert found is not None
    assert found.cluster_id == "1000d3becc2dd26"
    assert [(m.name, m.id) for m in found.members] == [("", "1"), ("m2", f"{8705393637325999234:x}")]
    assert found.alarms == ("NOSPACE ff",)
    assert (found.pods, found.pod_prefix_length, found.backend) == ("10.244.0.0/16", "24", "vxlan")


def _lease(key: str, value: str) -> str:
    pair = {part: base64.b64encode(text.encode()).decode() for part, text in (("key", key), ("value", value))}
    return json.dumps({"header": {}, "kvs": [pair]})


def test_flannels_leases_tell_each_hosts_subnet_and_backend() -> None:
    value = '{"PublicIP":"192.0.2.21","PublicIPv6":null,"BackendType":"host-gw"}'
    found = live_text.etcd([*ETCD[:3], _lease("/coreos.com/network/subnets/10.244.3.0-24", value)])
    assert found is not None
    assert found.leases == (PodSubnet(address="192.0.2.21", subnet="10.244.3.0/24", backend="host-gw"),)


@pytest.mark.parametrize(
    ("key", "value"), [("subnets/10.244.3.0-24", "no JSON"), ("subnets/x", '{"PublicIP":"a","BackendType":"vxlan"}'),
                       ("subnets/10.244.3.0-24", "[]"), ("subnets/10.244.3.0-24", '{"PublicIP":"a"}')]
)  # fmt: skip
def test_what_is_no_lease_is_left_out(key: str, value: str) -> None:
    found = live_text.etcd([*ETCD[:3], _lease(key, value)])
    assert found is not None and found.leases == ()


def test_a_first_member_that_has_not_started_is_known_by_its_client_urls_not_by_its_name() -> None:
    """m3 was left out of the first apply: etcd 3.7 lists it by name, without client URLs. It must join, not be replaced."""
    unstarted = ETCD[0].replace('{"ID":1,', '{"ID":1,"name":"m3",')
    found = live_text.etcd([unstarted, *ETCD[1:]])
    assert found is not None
    assert [(m.name, m.peer_urls) for m in found.members if m.id == "1"] == [("", ("https://192.0.2.11:2380",))]


def test_a_learner_is_a_member_without_a_vote() -> None:
    found = live_text.etcd([ETCD[0].replace('{"ID":1,', '{"ID":1,"isLearner":true,'), *ETCD[1:]])
    assert found is not None and found.learners == {"1"}
    known = dict(facts.members(found))
    assert known[facts.of_vote("https://192.0.2.11:2380")] == "no"
    assert known[facts.of_vote("https://192.0.2.12:2380")] == "yes"
    assert known[facts.of_member("https://192.0.2.11:2380")] == "there" and known[facts.MEMBERS] == "known"
    assert dict(facts.members(None)) == {}


def test_an_answer_of_etcd_that_is_cut_short_is_none() -> None:
    for count in range(len(ETCD)):
        assert live_text.etcd(ETCD[:count]) is None
    assert live_text.etcd([*ETCD[:2], ETCD[2][:40], ETCD[3]]) is None


def test_a_record_is_read_back_as_it_was_written() -> None:
    assert lineage.parse(RECORD.text()) == RECORD


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", RECORD.text()[:100], RECORD.text().replace('"format": 1', '"format": 2'),
     RECORD.text().replace('"uid"', '"uuid"')],
)  # fmt: skip
def test_another_text_is_no_record(text: str) -> None:
    with pytest.raises(Unreadable):
        lineage.parse(text)
    if text:
        assert live_text.lineage([text])[1], "and says why"


def test_a_record_of_a_later_format_names_it() -> None:
    _, fault = live_text.lineage(RECORD.text().replace('"format": 1', '"format": 7').splitlines())
    assert fault == "its format is 7, and this version of kubewright reads 1"


def test_the_first_whole_answer_of_any_host_counts() -> None:
    base = dataclasses.replace(recorded("debian12-cgroup1"), installed=("unit etcd.service",))
    older, newer = dataclasses.replace(RECORD, generation=3), dataclasses.replace(RECORD, generation=4)
    found = live_of(
        {
            "m1": dataclasses.replace(base, lineage=older),
            "m2": dataclasses.replace(base, api=live_text.api(NODES, API), lineage=newer),
            "m3": dataclasses.replace(base, etcd=live_text.etcd(ETCD)),
        }
    )
    assert found.api is not None and found.etcd is not None and found.uid == "0c7c3e2a"
    assert found.records == (newer, older)
    assert found.settings["network.pods"] == "10.244.0.0/16"


UNIT = """[Service]
ExecStart=/usr/local/bin/kube-apiserver \\
  --advertise-address=192.0.2.11 \\
  "--secure-port=6443" \\
  --service-account-issuer=https://kubernetes.default.svc.cluster.local \\
  --service-cluster-ip-range=10.96.0.0/16 \\
  --v=2
"""
KUBELET = 'clusterDNS:\n- "10.96.0.10"\nclusterDomain: cluster.local\ncontainerRuntimeEndpoint: x\n'


def test_the_script_reads_the_components_configuration(tmp_path: Path) -> None:
    """Run as it is sent, with its paths below a scratch folder."""
    (tmp_path / "kube-apiserver.service").write_text(UNIT)
    (tmp_path / "kubelet.yaml").write_text(KUBELET)
    (tmp_path / "subnet.env").write_text("FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\n")
    (tmp_path / "cluster.json").write_text(RECORD.text())
    script = sections()
    for path, name in (
        ("/etc/systemd/system/", f"{tmp_path}/"),
        ("/etc/kubernetes/kubelet.yaml", f"{tmp_path}/kubelet.yaml"),
        ("/run/flannel/subnet.env", f"{tmp_path}/subnet.env"),
        (lineage.PATH, f"{tmp_path}/cluster.json"),
        ("/etc/kubernetes/admin.conf", f"{tmp_path}/admin.conf"),
        ("/etc/etcd/pki/root", f"{tmp_path}/root"),
    ):
        assert path in script
        script = script.replace(path, name)
    done = subprocess.run(["sh", "-c", 's() { echo "@@$1"; }\n' + script], capture_output=True, text=True, check=True)
    parts = {name: body.splitlines() for name, _, body in (part.partition("\n") for part in done.stdout.split("@@")[1:])}
    assert parts["nodes"] == parts["members"] == [] and "".join(parts["api"]) == ""
    assert live_text.configured(parts["configured"]) == {
        "kube-apiserver advertise-address": "192.0.2.11",
        "kube-apiserver secure-port": "6443",
        "kube-apiserver service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "kube-apiserver service-cluster-ip-range": "10.96.0.0/16",
        "kubelet clusterDNS": "10.96.0.10",
        "kubelet clusterDomain": "cluster.local",
        "flannel FLANNEL_SUBNET": "10.244.3.1/24",
    }
    assert live_text.lineage(parts["lineage"]) == (RECORD, "")
    assert "secure-port" in FLAGS


def test_a_hosts_part_follows_from_its_files() -> None:
    base = recorded("ubuntu2404-running")
    told = {
        "kubelet hostname-override": "m1",
        "kubelet node-ip": "192.0.2.11",
        "kube-apiserver service-account-issuer": "https://kubernetes.default.svc.example.org",
        "flannel FLANNEL_SUBNET": "10.244.3.1/25",
    }
    installed = ("unit kubelet.service", "unit kube-apiserver.service", "file /etc/crictl.yaml")
    found = host(dataclasses.replace(base, configured=told, installed=installed))
    assert (found.node, found.addresses, found.roles) == ("m1", frozenset({"192.0.2.11"}), frozenset({"master", "node"}))
    assert found.versions["kubelet"] == "1.37.1"
    assert found.settings == {"network.domain": "example.org", "network.pod_prefix_length": "25"}


def test_an_issuer_that_is_not_ours_gives_no_domain() -> None:
    base = recorded("debian12-cgroup1")
    told = {"kube-apiserver service-account-issuer": "https://issuer.example.org"}
    assert host(dataclasses.replace(base, configured=told)).settings == {}
    found = live_text.api(NODES, [json.dumps({"issuer": "https://issuer.example.org"})])
    assert found is not None and found.domain == ""
