"""The certificates that listeners serve now, compared with the store's."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography.hazmat.primitives import hashes

from deploy.waves import ROLES
from kubewright.tls.serving import fingerprints, serving
from pki import certificates
from pki.identities import stored
from tests.support.scenarios import filled_store, scenario
from tests.support.servers import Redirected, server_context
from tests.support.servers import serving as server_of

PLAN = scenario("lab").plan


def test_every_listener_with_a_certificate_of_its_own_is_asked_on_its_own_host(tmp_path: Path) -> None:
    store = filled_store(PLAN, tmp_path, dt.datetime.now(dt.UTC))
    identity = stored(store, "apiserver/m1")
    with server_of(server_context(identity, store.certificate("ca/kubernetes"), required=True)) as server:
        found = serving({name: Redirected(server.port) for name in ("m1", "w1")}, PLAN, ROLES)
    assert {host: sorted(ports) for host, ports in found.items()} == {
        "m1": [2379, 2380, 6443, 10250, 10257, 10259],
        "w1": [10250],  # its load balancer has no certificate
    }
    assert {shown.name for shown in found["m1"].values()} == {
        "etcd-server/m1",
        "etcd-peer/m1",
        "apiserver/m1",
        "kubelet-server/m1",
        "controller-manager-server/m1",
        "scheduler-server/m1",
    }
    leaf = certificates.from_pem(identity.certificate)
    shown = found["w1"][10250]
    assert (shown.fingerprint, shown.not_after) == (leaf.fingerprint(hashes.SHA256()).hex(), leaf.not_valid_after_utc)
    assert (shown.issuer, shown.broken) == ("CN=kubernetes-ca", "")
    assert fingerprints(found)["w1"] == {10250: shown.fingerprint}


def test_a_missing_listener_is_reported_and_has_no_fingerprint() -> None:
    with server_of(None) as server:
        found = serving({"w1": Redirected(server.port)}, PLAN, ROLES)
    assert found["w1"][10250].broken.startswith(("EOF", "ConnectionResetError"))
    gone = serving({"w1": Redirected(server.port)}, PLAN, ROLES)
    assert gone["w1"][10250].broken.startswith("ConnectionRefusedError")
    assert fingerprints(gone) == {"w1": {}}
