"""The certificate table against kubernetes.io's "PKI certificates and requirements"."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from kubewright.model.build import make_plan
from kubewright.model.certificates import ADMINS, OPERATOR, ROWS, leaves
from pki import certificates
from pki.authorities import AUTHORITIES
from tests.support.scenarios import inventory, scenario, spec_of

# Common name, authority, organizations, usages. {node} is the node's name.
UPSTREAM = {
    "etcd-server": ("kube-etcd", "ca/etcd", (), ("server", "client")),
    "etcd-peer": ("kube-etcd-peer", "ca/etcd", (), ("server", "client")),
    "etcd-healthcheck-client": ("kube-etcd-healthcheck-client", "ca/etcd", (), ("client",)),
    "etcd-root": ("root", "ca/etcd", (), ("client",)),
    "apiserver": ("kube-apiserver", "ca/kubernetes", (), ("server",)),
    "apiserver-etcd-client": ("kube-apiserver-etcd-client", "ca/etcd", (), ("client",)),
    "apiserver-kubelet-client": ("kube-apiserver-kubelet-client", "ca/kubernetes", ("kubeadm:cluster-admins",), ("client",)),
    "front-proxy-client": ("front-proxy-client", "ca/front-proxy", (), ("client",)),
    "controller-manager-client": ("system:kube-controller-manager", "ca/kubernetes", (), ("client",)),
    "controller-manager-server": ("kube-controller-manager", "ca/kubernetes", (), ("server",)),
    "scheduler-client": ("system:kube-scheduler", "ca/kubernetes", (), ("client",)),
    "scheduler-server": ("kube-scheduler", "ca/kubernetes", (), ("server",)),
    "admin": ("kubernetes-admin", "ca/kubernetes", ("kubeadm:cluster-admins",), ("client",)),
    "kubelet-client": ("system:node:w1", "ca/kubernetes", ("system:nodes",), ("client",)),
    "kubelet-server": ("system:node:w1", "ca/kubernetes", ("system:nodes",), ("server",)),
    "kube-proxy": ("system:kube-proxy", "ca/kubernetes", ("system:node-proxier",), ("client",)),
    "flannel": ("flannel", "ca/etcd", (), ("client",)),
    "coredns-etcd": ("coredns", "ca/etcd", (), ("client",)),
    "kube2sky-client": ("system:kube2sky", "ca/kubernetes", (), ("client",)),
    "kube2sky-etcd": ("kube2sky", "ca/etcd", (), ("client",)),
}
HOST = (("w1", "localhost"), ("192.0.2.31", "127.0.0.1"))
NAMES = {
    "etcd-server": HOST,
    "etcd-peer": HOST,
    "apiserver": (
        (
            "w1",
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "api.ha.example.org",
        ),
        ("192.0.2.31", "127.0.0.1", "10.96.0.1"),
    ),
    "controller-manager-server": (("w1", "localhost"), ("127.0.0.1",)),
    "scheduler-server": (("w1", "localhost"), ("127.0.0.1",)),
    "kubelet-server": (("w1",), ("192.0.2.31",)),
}


def test_the_table_has_these_rows_and_no_other() -> None:
    assert set(ROWS) == set(UPSTREAM)


@pytest.mark.parametrize("name", UPSTREAM)
def test_a_row_agrees_with_upstream(name: str) -> None:
    plan = scenario("ha").plan
    leaf = ROWS[name].leaf(plan, plan.node("w1"))
    common_name, authority, organizations, usages = UPSTREAM[name]
    dns_names, addresses = NAMES.get(name, ((), ()))
    assert leaf.authority == authority
    assert leaf.subject == certificates.Subject(
        common_name=common_name,
        organizations=organizations,
        usages=usages,
        dns_names=dns_names,
        addresses=tuple(map(IPv4Address, addresses)),
    )


def test_no_permanent_certificate_is_in_system_masters() -> None:
    plan = scenario("ha").plan
    assert not [leaf.name for leaf in leaves(plan) if "system:masters" in leaf.subject.organizations]
    assert OPERATOR.subject.organizations == (ADMINS,)


def test_each_host_has_its_own_certificate_for_each_of_its_rows() -> None:
    names = [leaf.name for leaf in leaves(make_plan(inventory("ha")))]
    assert len(names) == len(set(names))
    assert {n for n in names if n.endswith("/etcd1")} == {
        "etcd-server/etcd1",
        "etcd-peer/etcd1",
        "etcd-healthcheck-client/etcd1",
        "etcd-root/etcd1",
    }
    assert {n for n in names if n.endswith("/w1")} == {"kubelet-client/w1", "kubelet-server/w1", "kube-proxy/w1", "flannel/w1"}


def test_etcds_administrator_is_only_on_etcd_hosts() -> None:
    plan = make_plan(inventory("ha"))
    assert {n.name for n in plan.nodes if ROWS["etcd-root"].on(n)} == {"etcd1", "etcd2", "etcd3"}


def test_a_name_given_twice_is_in_the_certificate_once() -> None:
    spec = spec_of("{name: a, api: {extra_sans: [m1, 192.0.2.11]}, hosts: [{name: m1, address: 192.0.2.11, roles: [master]}]}")
    plan = make_plan(spec)
    subject = ROWS["apiserver"].leaf(plan, plan.nodes[0]).subject
    assert subject.dns_names.count("m1") == 1
    assert subject.addresses.count(IPv4Address("192.0.2.11")) == 1


def test_every_issued_certificate_agrees_with_the_table_and_chains_to_its_authority() -> None:
    made = scenario("ha")
    authorities = {a.name: certificates.from_pem(made.store.certificate(a.name)) for a in AUTHORITIES}
    for leaf in leaves(made.plan):
        held = certificates.from_pem(made.store.certificate(leaf.name))
        assert certificates.subject_of(held) == leaf.subject
        held.verify_directly_issued_by(authorities[leaf.authority])
        assert held.not_valid_after_utc <= authorities[leaf.authority].not_valid_after_utc
        others = [a for name, a in authorities.items() if name != leaf.authority]
        for other in others:
            with pytest.raises(ValueError, match="match"):
                held.verify_directly_issued_by(other)


def test_no_two_certificates_share_a_key() -> None:
    sums = [entry.key_sha256 for entry in scenario("ha").store.entries.values()]
    assert len(sums) == len(set(sums))
