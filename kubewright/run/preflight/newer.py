"""Findings on hosts that were given more than the store knows: it is an older copy, and applying it would take that back."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509

from kubewright.errors import Problem
from kubewright.model.cluster import Node
from kubewright.observe.observed import AUTHORITIES, Observed
from kubewright.run.preflight.cluster import TRUSTED, Cluster
from pki import encryption, trust

_BRING = "get the newer certificates.json and secrets/ from the person who rotated last, or from a later backup"
_BEHIND = "if it is this host that is old, because it was away or set back, and not the store"


def keys(cluster: Cluster, node: Node, host: Observed) -> Iterator[Problem]:
    """On the keys of Secrets. A store without any is another matter: see `Run`."""
    if encryption.ROW not in cluster.entries:
        return
    if ahead := encryption.providers(cluster.entries).ahead(host.encryption_keys):
        yield Problem(
            where=node.name,
            what=f"its apiserver has an encryption key that certificates.json does not know, or not as the only one yet "
            f"({', '.join(ahead)} in {encryption.PATH}): this store is older than the cluster",
            allowed="a store that is as new as the hosts: with an older key the Secrets in etcd could not be read again",
            todo=f"{_BRING}; only {_BEHIND}: remove that file there",
        )


def authorities(cluster: Cluster, node: Node, host: Observed) -> Iterator[Problem]:
    """On authorities, and on the keys of service accounts."""
    further = {pem for name in TRUSTED for pem in trust.ahead(cluster.entries, name, host.authorities)}
    if ahead := (host.authorities - cluster.authorities) | further:
        yield Problem(
            where=node.name,
            what=f"it trusts an authority that certificates.json does not know, or not as the only one yet "
            f"({', '.join(sorted(map(_named, ahead)))}): this store is older than the cluster",
            allowed="a store that is as new as the hosts: with an older authority they would refuse each other",
            todo=f"{_BRING}; only {_BEHIND}: remove those of {', '.join(p for p in AUTHORITIES if p in host.entries)} there "
            "that hold it",
        )


def _named(pem: str) -> str:
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:  # a public key, or what somebody wrote there
        return pem.splitlines()[0].strip("-").removeprefix("BEGIN ").lower()
    return f"{certificate.subject.rfc4514_string()} of {certificate.not_valid_before_utc:%Y-%m-%d}"
