"""The status of each certificate, and of those that listeners serve."""

from __future__ import annotations

import datetime as dt

from pki import status
from pki.store import Entry
from tests.pki.brought import CHAIN, NOW, OURS, make

LEAF = make("kube-etcd", OURS, ca=False, ends=30)
ENTRIES = {
    "etcd-server/m1": Entry(certificate=LEAF.pem.decode() + OURS.pem.decode(), key_sha256="a"),
    "ca/etcd": Entry(certificate=CHAIN.decode(), key_sha256=""),
    "service-account": Entry(certificate="-----BEGIN PUBLIC KEY-----\n", key_sha256="b"),
    "ca/etcd/dropped": Entry(certificate=CHAIN.decode(), key_sha256=""),
    "ca/etcd/former": Entry(certificate=CHAIN.decode(), key_sha256=""),
    "request/flannel/m1": Entry(certificate="-----BEGIN CERTIFICATE REQUEST-----\n", key_sha256="c"),
}


def test_authorities_come_first_without_those_that_do_not_expire_or_were_dropped() -> None:
    authority, leaf = status.lines(ENTRIES, NOW)
    assert (authority.name, authority.kind, authority.key_here) == ("ca/etcd", "authority", False)
    assert (leaf.name, leaf.kind, leaf.key_here, leaf.days_left) == ("etcd-server/m1", "leaf", True, 30)
    assert leaf.issuer == authority.subject == "CN=prod Kubernetes"
    assert int(leaf.serial, 16) == LEAF.certificate.serial_number


def test_a_certificate_expires_within_more_days_than_it_has_left() -> None:
    leaf = status.lines(ENTRIES, NOW)[1]
    assert (leaf.expires_within(30), leaf.expires_within(31)) == (False, True)
    assert status.lines(ENTRIES, NOW + dt.timedelta(days=31))[1].expires_within(0), "expired"


def test_listeners_are_found_by_the_certificate_that_they_serve() -> None:
    found = status.lines(ENTRIES, NOW)
    served = {"m1": {2379: found[1].fingerprint, 2380: "older"}, "m2": {2379: found[1].fingerprint}}
    assert status.serves(found[1], ["m1"], served) == ("m1:2379",)
    assert status.unknown(found, served) == ("m1:2380",)


def test_leaves_of_removed_hosts_are_listed_separately_and_authorities_never_are() -> None:
    operator = {"operator": ENTRIES["etcd-server/m1"]}
    found = status.lines({**ENTRIES, **operator, "etcd-server/gone": ENTRIES["etcd-server/m1"]}, NOW)
    assert [line.name for line in status.of_gone_hosts(found, {"etcd-server/m1", "operator"})] == ["etcd-server/gone"]
    assert [line.name for line in status.of_gone_hosts(found, ())] == ["etcd-server/gone", "etcd-server/m1"]
