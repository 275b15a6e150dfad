"""The three authorities of a cluster, and the key pair of service accounts: their names in the store.

Source: kubernetes.io, "PKI certificates and requirements".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pki.decisions import Authority, Given

KUBERNETES = Authority(name="ca/kubernetes", common_name="kubernetes-ca")
ETCD = Authority(name="ca/etcd", common_name="etcd-ca")
FRONT_PROXY = Authority(name="ca/front-proxy", common_name="kubernetes-front-proxy-ca")
AUTHORITIES = (KUBERNETES, ETCD, FRONT_PROXY)
SERVICE_ACCOUNT = "service-account"
"""A key pair, not a certificate."""


def authorities(external: Mapping[str, Given]) -> tuple[Authority, ...]:
    """The three, with the external CAs in place of our own, by their names in the store."""
    return tuple(replace(a, given=external.get(a.name)) for a in AUTHORITIES)
