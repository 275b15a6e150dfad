"""Conversions of the private store; each one replaces one file under the store's lock."""

from __future__ import annotations

from pathlib import Path

from kubewright.errors import Failed
from kubewright.model.build import make_plan
from kubewright.verbs.certificates import opened
from kubewright.verbs.kubeconfig import NAME, admin_kubeconfig
from pki.store import PRIVATE
from pki.vault import Vault, new_password


def encrypt(inventory: Path) -> list[str]:
    """Encrypt the store into a vault, with the password in secrets.password_file or typed twice. Returns lines for a person."""
    spec, store = opened(inventory)
    with store.locked():
        if store.encrypted:
            return [f"{inventory / PRIVATE}: encrypted already"]
        store.recrypt(Vault(new_password(spec.secrets.password_file)))
    said = [f"{inventory / PRIVATE}: encrypted; keep the password in another place: it cannot be recovered"]
    if (path := inventory / NAME).exists():
        path.unlink()
        said.append(f"{path}: removed, because it held a key in plain text; to get it for a while: kubewright secrets kubeconfig")
    return said


def decrypt(inventory: Path) -> list[str]:
    _, store = opened(inventory)
    with store.locked():
        if not store.encrypted:
            return [f"{inventory / PRIVATE}: not encrypted"]
        store.recrypt(None)
    return [f"{inventory / PRIVATE}: plain now, readable by you alone"]


def rekey(inventory: Path, new: Path | None) -> list[str]:
    """Change the vault's password: to the one in `new`, or typed twice."""
    spec, store = opened(inventory)
    with store.locked():
        if not store.encrypted:
            raise Failed(f"{inventory / PRIVATE} is not encrypted: kubewright secrets encrypt")
        _ = store.incomplete  # the old password first, to report a wrong one
        store.recrypt(Vault(new_password(new)))
    said = [f"{inventory / PRIVATE}: encrypted with the new password"]
    if spec.secrets.password_file not in (None, new):
        said.append(f"secrets.password_file ({spec.secrets.password_file}) still has the old one: change it")
    return said


def kubeconfig(inventory: Path) -> bytes:
    """The administrator's kubeconfig. Failed when there is no cluster yet."""
    spec, store = opened(inventory)
    if "operator" not in store.entries:
        raise Failed("there are no certificates yet: kubewright apply makes them")
    return admin_kubeconfig(make_plan(spec), store)
