"""CoreDNS' certificate for etcd, in a folder that its pods mount: on every host that may run one, under skydns only.

No unit restarts for it: CoreDNS' Deployment rolls, because its pods carry a checksum of these files.
"""

from __future__ import annotations

from kubewright.model.certificates import ROWS
from kubewright.plan.context import Context
from kubewright.plan.desired import Desired, Directory
from kubewright.plan.role import Folder, Role
from pki.authorities import ETCD

ROW = ROWS["coredns-etcd"]
PKI = ROW.path.rpartition("/")[0]


def desired(context: Context) -> Desired:
    return Desired(
        directories=(Directory(path=PKI),),
        files=(context.authority(ETCD.name, f"{PKI}/ca.crt"), *context.key_pair(ROW.name)),
    )


ROLE = Role(
    name="coredns_certificates",
    runs_on=ROW.on,
    after=("etcd_users",),
    folders=(Folder(path=PKI),),
    desired=desired,
)
