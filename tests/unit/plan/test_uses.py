"""The places of certificates, and the effect of an intermediate CA on hosts."""

from __future__ import annotations

import dataclasses

import pytest

from deploy.waves import ROLES
from kubewright.model.certificates import OPERATOR, ROWS
from kubewright.plan.context import Context
from kubewright.plan.desired import File, Stored
from kubewright.plan.uses import uses
from pki import encryption
from pki.authorities import AUTHORITIES, KUBERNETES
from pki.store import Entry
from tests.pki.brought import CHAIN, OURS
from tests.support.scenarios import Scenario, scenario


@pytest.mark.parametrize("name", ["lab", "ha", "single"])
def test_every_key_on_a_host_has_its_certificates_file_in_the_list_with_the_same_units(name: str) -> None:
    made = scenario(name)
    found = uses(made.plan, ROLES, made.store.entries, [a.name for a in AUTHORITIES])
    listed = {(use.host, use.path): row for row, held in found.items() for use in held}
    for node in made.plan.nodes:
        for file in _files(made.context(node.name)):
            if isinstance(file.content, Stored) and file.path.endswith(".key") and file.content.name in made.store.entries:
                if "BEGIN CERTIFICATE" not in made.store.entries[file.content.name].certificate:
                    continue
                assert listed[node.name, file.path.removesuffix(".key") + ".crt"] == file.content.name
    assert set(found) == {row for row in made.store.entries if row not in (OPERATOR.name, encryption.ROW)}
    assert len(found) > sum(any(map(row.on, made.plan.nodes)) for row in ROWS.values())


def _files(context: Context) -> list[File]:
    return [f for role in ROLES if role.runs_on(context.node) for f in role.desired(context).files]


def _with_intermediate(made: Scenario, node: str) -> Context:
    entries = {**made.store.entries, KUBERNETES.name: Entry(certificate=CHAIN.decode(), key_sha256="")}
    return dataclasses.replace(made.context(node), certificates=entries)


def test_hosts_trust_only_the_intermediate_and_only_haproxy_and_pods_get_its_root() -> None:
    made = scenario("lab")
    found = {f.path: f.content for n in ("m1", "w1") for f in _files(_with_intermediate(made, n)) if isinstance(f.content, bytes)}
    assert found["/etc/kubernetes/pki/ca.crt"] == OURS.pem
    with_root = {path for path, content in found.items() if content == CHAIN}
    assert with_root == {"/etc/kubernetes/load-balancer/ca.crt", "/etc/kubernetes/pki/ca-with-root.crt"}
    assert b"ca-file /etc/kubernetes/load-balancer/ca.crt" in found["/etc/kubernetes/load-balancer/haproxy.cfg"]
    units = [c for path, c in found.items() if path.endswith("kube-controller-manager.service")]
    assert b"--root-ca-file=/etc/kubernetes/pki/ca-with-root.crt" in units[0]
    users = [path for path, content in found.items() if b"ca-with-root.crt" in content]
    assert users == ["/etc/systemd/system/kube-controller-manager.service"], "as a client CA it would admit the company"
