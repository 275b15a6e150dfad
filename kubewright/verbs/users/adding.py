"""`user add`: combines the pure parts with a cluster, a record and a kubeconfig."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from pathlib import Path

from kubewright import disk
from kubewright.errors import BadInput, Problem
from kubewright.model.build import make_plan
from kubewright.model.cluster import Plan
from kubewright.verbs.kubeconfig import encoded, kubeconfig
from kubewright.verbs.users import credential, manifests, record, signers
from kubewright.verbs.users.cluster import Cluster
from kubewright.verbs.users.credential import Credential, Kind
from kubewright.verbs.users.manifests import Access
from kubewright.verbs.users.record import Issued
from kubewright.verbs.users.wanted import HOME, Wanted
from pki.store import Store
from pki.vault import Vault, password_from


def output_problems(output: Path) -> list[Problem]:
    """Why a kubeconfig can't be written there."""
    if output.exists():
        what, todo = "is there already", "remove it, or name another file with -o"
    elif not os.access(output.parent, os.W_OK):
        what, todo = f"its folder can't be written to ({output.parent})", "make the folder, or name another with -o"
    else:
        return []
    return [Problem(where=str(output), what=what, allowed="a new file in a folder of yours", todo=todo)]


def add(
    inventory: Path, cluster: Cluster, wanted: Wanted, output: Path, *, kind: Kind, csr: bytes | None, create_namespaces: bool
) -> Issued:
    """Give a person access, and write their kubeconfig to `output` last: an existing kubeconfig works.

    BadInput, and nothing changed, when the name is taken or a namespace is missing.
    """
    plan = make_plan(cluster.spec)
    store = Store(inventory, Vault(password_from(cluster.spec.secrets.password_file)))
    there = cluster.namespaces()
    missing = [namespace for namespace, _ in wanted.grants if namespace not in there]
    _refuse(wanted, manifests.people(cluster.belongings()), [] if create_namespaces else missing)
    one = credential.new(kind, wanted.name)
    certificate, key = b"", b""
    if kind == "certificate":
        algorithm = plan.certificates.algorithm
        certificate, key = credential.certify(one, store, days=wanted.days, algorithm=algorithm, csr=csr)
        expires = credential.expiry(certificate)
        proof: dict[str, object] = {"client-certificate-data": encoded(certificate)}
        proof |= {"client-key-data": encoded(key)} if key else {"client-key": f"{wanted.name}.key"}
    else:
        missing += [HOME] if HOME not in there else []
    cluster.create([manifests.namespace(name) for name in missing])
    if kind == "token":
        cluster.create([manifests.account(one)])
        token, expires = cluster.token(one, days=wanted.days)
        proof = {"token": token}
    issued = _issued(wanted, one, expires, certificate, signers.signers(store.entries, kind))
    record.add(inventory, issued)
    cluster.create(manifests.objects(wanted, one, expires))
    being = {"as": wanted.name} | ({"as-groups": list(wanted.groups)} if wanted.groups else {})
    disk.replace(output, kubeconfig(plan, store, wanted.name, {**proof, **being}, namespaces(wanted, plan)))
    return issued


def namespaces(wanted: Wanted, plan: Plan) -> tuple[str, ...]:
    """The namespaces that get a context: the granted ones, then the person's workgroups in cluster.yaml."""
    workgroups = (group.name for group in plan.workgroups if wanted.name in group.people)
    return tuple(dict.fromkeys((*(namespace for namespace, _ in wanted.grants), *workgroups)))


def _refuse(wanted: Wanted, people: dict[str, Access], missing: Sequence[str]) -> None:
    found = [
        Problem(where="--namespace", what=f"not in the cluster ({name})", allowed="namespaces that are there",
                todo="make it, or add --create-namespaces")
        for name in missing
    ]  # fmt: skip
    if wanted.name in people:
        todo = f"kubewright user revoke {wanted.name} first, or choose another name"
        found.append(Problem(where="NAME", what=f"has access already ({wanted.name})", allowed="a new name", todo=todo))
    if found:
        raise BadInput(found)


def _issued(wanted: Wanted, one: Credential, expires: str, certificate: bytes, signed_by: tuple[str, ...]) -> Issued:
    return Issued(
        name=wanted.name, kind=one.kind, id=one.id, groups=wanted.groups, grants=wanted.grants,
        issued=credential.stamp(dt.datetime.now(dt.UTC)), expires=expires, certificate=certificate.decode(), signed_by=signed_by,
    )  # fmt: skip
