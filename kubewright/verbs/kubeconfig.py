"""Kubeconfigs for people: certificates and keys inside, mode 0600. The administrator's is beside the inventory."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

from kubewright import disk
from kubewright.model.certificates import OPERATOR
from kubewright.model.cluster import Plan
from kubewright.plan.quoting import ambiguous
from pki import trust
from pki.authorities import KUBERNETES
from pki.store import Store

NAME = "admin.kubeconfig"


class _Representer(SafeRepresenter):
    """Writes YAML 1.2 that readers of YAML 1.1, kubectl among them, read alike."""

    def represent_str(self, data: str) -> ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"' if ambiguous(data) else None)


_Representer.add_representer(str, _Representer.represent_str)


def servers(plan: Plan) -> dict[str, str]:
    """The clusters of a kubeconfig, the one to use first: `api.extra_sans`, then the masters' own addresses.

    kubectl tries only one server; choose another by name: `kubectl --cluster prod-m2`.
    """
    outside = [name for name in plan.api_names if not name.startswith("*.")] + [str(a) for a in plan.api_addresses]
    masters = sorted(plan.masters, key=lambda node: node.name in plan.absent)
    reached = [(name, name) for name in outside] + [(node.name, str(node.address)) for node in masters]
    urls = {f"{plan.cluster}-{name}": f"https://{address}:{plan.api_port}" for name, address in reached}
    (_, best), *others = urls.items()
    return {plan.cluster: best, **dict(others)}


def kubeconfig(plan: Plan, store: Store, user: str, credential: Mapping[str, object], namespaces: Sequence[str] = ()) -> bytes:
    """A kubeconfig of `user`, with a context for each namespace, or one without any. The first context is current.

    An empty namespace stands for the context without one.
    """
    authority = encoded(trust.bundle(store.entries, KUBERNETES.name))
    cluster = {"cluster": plan.cluster, "user": user}
    contexts = {
        f"{namespace or user}@{plan.cluster}": {**cluster, "namespace": namespace} if namespace else cluster
        for namespace in namespaces or ("",)
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"certificate-authority-data": authority, "server": server}}
            for name, server in servers(plan).items()
        ],
        "users": [{"name": user, "user": dict(credential)}],
        "contexts": [{"name": name, "context": context} for name, context in contexts.items()],
        "current-context": next(iter(contexts)),
    }
    buffer, yaml = io.BytesIO(), YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.dump(document, buffer)
    return buffer.getvalue()


def encoded(pem: bytes) -> str:
    """Base64, as in kubeconfigs."""
    return base64.b64encode(pem).decode()


def admin_kubeconfig(plan: Plan, store: Store) -> bytes:
    """The administrator's credential, with its key in plain text, and a context for each workgroup."""
    credential = {
        "client-certificate-data": encoded(store.certificate(OPERATOR.name)),
        "client-key-data": encoded(store.key(OPERATOR.name)),
    }
    return kubeconfig(plan, store, "kubernetes-admin", credential, namespaces_of_admin(plan))


def namespaces_of_admin(plan: Plan) -> tuple[str, ...]:
    """The namespaces of the administrator's contexts: none first, then the workgroups'."""
    return ("", *(group.name for group in plan.workgroups))


def write_admin_kubeconfig(inventory: Path, plan: Plan, store: Store) -> None:
    """Write it beside the inventory, if it is missing or outdated; not while the keys are in a vault, since it has one in
    plain text."""
    if store.encrypted:
        return
    content, path = admin_kubeconfig(plan, store), inventory / NAME
    if not path.exists() or path.read_bytes() != content:
        disk.replace(path, content)
