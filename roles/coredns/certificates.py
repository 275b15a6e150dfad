"""CoreDNS' certificate for etcd, on every host that may run its pods: a folder that the pods mount. Under skydns only."""

from __future__ import annotations

import hashlib

from kubewright.model.certificates import ROWS
from kubewright.model.cluster import Node
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, Directory
from kubewright.plan.role import Folder, Role
from pki import trust
from pki.authorities import ETCD
from roles.coredns.corefile import PKI

_ROW = "coredns-etcd"
_FOLDER = PKI.rpartition("/")[0]


def runs_on(node: Node) -> bool:
    return ROWS[_ROW].on(node)


def desired(context: Context) -> Desired:
    return Desired(
        directories=(Directory(path=_FOLDER), Directory(path=PKI)),
        # No unit restarts: the Deployment rolls, because its pods are annotated with `checksum`.
        files=(context.authority(ETCD.name, f"{PKI}/ca.crt"), *context.key_pair(_ROW)),
    )


def checksum(context: Context) -> str:
    """SHA-256 of all that pods read from the folder, on any host. CoreDNS reads it at its start only."""
    held = [trust.bundle(context.certificates, ETCD.name)]
    held += [context.certificates[ROWS[_ROW].stored(node)].certificate.encode() for node in context.plan.nodes if runs_on(node)]
    return hashlib.sha256(b"".join(held)).hexdigest()


ROLE = Role(
    name="coredns_certificates",
    runs_on=runs_on,
    after=("etcd_users",),
    folders=(Folder(path=_FOLDER),),
    desired=desired,
)
