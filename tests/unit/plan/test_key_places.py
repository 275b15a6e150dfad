"""A private key is only in the places of the certificate table."""

from __future__ import annotations

import dataclasses
import functools

from deploy.waves import ROLES
from kubewright.observe.observed import Entry, Observed
from kubewright.plan.key_places import places, problems
from kubewright.plan.leftovers import everything
from pki import encryption
from pki.authorities import KUBERNETES
from tests.support.hosts import carried_out
from tests.support.scenarios import scenario

LAB = scenario("lab")
PKI = "/etc/kubernetes/pki"
# One whose key is kept elsewhere, or nowhere: folders have no sum either.
ROWS = {**LAB.store.entries, f"{KUBERNETES.name}/former": dataclasses.replace(LAB.store.entries[KUBERNETES.name], key_sha256="")}


def _key(name: str, mode: int = 0o600) -> Entry:
    return Entry(kind="f", mode=mode, owner="root", group="root", size=241, sha256=LAB.store.entries[name].key_sha256)


@functools.cache
def _planned(host: str) -> Observed:
    """A host with everything that the roles want."""
    wanted = everything(ROLES, LAB.context(host)).values()
    return functools.reduce(lambda state, desired: carried_out(desired, state), wanted, LAB.observed(host))


def _problems(host: str, **entries: Entry) -> tuple[str, ...]:
    state = _planned(host)
    state = dataclasses.replace(state, entries={**state.entries, **entries})
    return problems(LAB.plan, LAB.plan.node(host), state, ROWS)


def test_hosts_as_planned_have_no_problems() -> None:
    for node in LAB.plan.nodes:
        assert _problems(node.name) == ()
        named = {path for put in places(LAB.plan).values() for on, path in put if on == node.name}
        assert named <= _planned(node.name).entries.keys()


def test_the_keys_of_secrets_are_only_on_masters() -> None:
    assert _problems("w1", **{encryption.PATH: _key(encryption.ROW)}) == (
        f"{encryption.PATH} is the private key of {encryption.ROW}, which may not lie there",
    )
    assert _problems("m1", **{encryption.PATH: _key(encryption.ROW, 0o644)}) == (
        f"{encryption.PATH} can be read by others (mode 0644)",
    )


def test_the_apiservers_key_for_etcd_is_found_on_a_worker_under_any_name() -> None:
    key = _key("apiserver-etcd-client/m1")
    where = "private key of apiserver-etcd-client/m1, which may not lie there"
    assert _problems("w1", **{f"{PKI}/apiserver-etcd-client.key": key}) == (f"{PKI}/apiserver-etcd-client.key is the {where}",)
    assert _problems("w1", **{"/etc/flannel/x": key}) == (f"/etc/flannel/x is the {where}",)
    assert _problems("m1", **{"/etc/kubernetes/copy.key": key}) == (f"/etc/kubernetes/copy.key is the {where}",)
    # Another master's own place is not its place either.
    assert _problems("m2", **{f"{PKI}/apiserver-etcd-client.key": key}) == (f"{PKI}/apiserver-etcd-client.key is the {where}",)


def test_an_authoritys_key_is_found_on_any_host() -> None:
    found = _problems("m1", **{f"{PKI}/ca.key": _key(KUBERNETES.name)})
    assert found == (f"{PKI}/ca.key is the private key of ca/kubernetes, which may not lie there",)


def test_an_unknown_key_is_found() -> None:
    stray = dataclasses.replace(_key("apiserver-etcd-client/m1"), sha256="ab" * 32)
    found = _problems("w1", **{f"{PKI}/apiserver-etcd-client.key": stray})
    assert found == (f"{PKI}/apiserver-etcd-client.key is a private key that no certificate of this host has",)


def test_a_key_that_others_can_read_is_found() -> None:
    path = f"{PKI}/kubelet-client.key"
    assert _problems("w1", **{path: _key("kubelet-client/w1", 0o640)}) == (f"{path} can be read by others (mode 0640)",)
