"""The administrator's kubeconfig on the operator's machine: certificates and key inside, mode 0600."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from ruamel.yaml import YAML

from kubewright.plan.model import Plan
from pki import trust
from pki.store import Store, write_private
from pki.table import KUBERNETES, OPERATOR

NAME = "admin.kubeconfig"


def write_admin_kubeconfig(inventory: Path, plan: Plan, store: Store) -> None:
    """Write it beside the inventory, if it is not there as it should be; not while the keys are in a vault, since it holds
    one in plain."""
    if store.encrypted:
        return
    content, path = admin_kubeconfig(plan, store), inventory / NAME
    if not path.exists() or path.read_bytes() != content:
        write_private(path, content)


def admin_kubeconfig(plan: Plan, store: Store) -> bytes:
    """The administrator's credential, with its key in plain. It names the first master."""

    def encoded(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    context = f"kubernetes-admin@{plan.cluster}"
    server = f"https://{plan.first_master.address}:{plan.api_port}"
    authority = encoded(trust.bundle(store.entries, KUBERNETES.name))
    user = {
        "client-certificate-data": encoded(store.certificate(OPERATOR.name)),
        "client-key-data": encoded(store.key(OPERATOR.name)),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": plan.cluster, "cluster": {"certificate-authority-data": authority, "server": server}}],
        "users": [{"name": "kubernetes-admin", "user": user}],
        "contexts": [{"name": context, "context": {"cluster": plan.cluster, "user": "kubernetes-admin"}}],
        "current-context": context,
    }
    buffer = io.BytesIO()
    YAML(typ="safe").dump(document, buffer)
    return buffer.getvalue()
