"""The data types of a lab: its hosts, names and paths. Pure, except for reading lab.json."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from kubewright import disk
from kubewright.errors import BadInput, Failed, Problem

HOME = Path("/var/lib/kubewright/lab")
"""One folder for each lab, and the record of the sysctls that all labs share."""
DEFAULT_NAME = "demo"
DEFAULT_HOSTS = ("m1", "m2", "m3", "w1", "w2")
BRIDGE_ADDRESS = IPv4Address("10.90.0.1")
PREFIX_LENGTH = 24
USER = "root"


@dataclass(frozen=True, kw_only=True)
class LabHost:
    """One host. `address` is in the lab's own network: every lab has the same addresses and none sees another's."""

    name: str
    address: IPv4Address


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A lab by name. Everything that it makes is named `kw.<name>`, so that `down` finds it even after a killed `up`."""

    name: str
    hosts: tuple[LabHost, ...]

    @property
    def folder(self) -> Path:
        return HOME / self.name

    @property
    def key(self) -> Path:
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def sudo_password(self) -> Path:
        return self.folder / "sudo-password"

    @property
    def namespace(self) -> str:
        """The network namespace with the bridge, from which hosts are reached."""
        return f"kw.{self.name}"

    def tag(self, host: str) -> str:
        """The name of that host's network namespace and cgroups."""
        return f"kw.{self.name}.{host}"

    def host(self, name: str) -> LabHost:
        """BadInput when the lab has no such host."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise BadInput(
            [
                Problem(
                    where=f"lab {self.name}",
                    what=f"no such host ({name})",
                    allowed=f"one of {', '.join(h.name for h in self.hosts)}",
                    todo="see `kubewright lab status`",
                )
            ]
        )


def _address(name: str, index: int) -> IPv4Address:
    # m1 is .11, w2 is .22: the addresses of inventories/lab. Other names follow from .101 on.
    if found := re.fullmatch(r"([mw])([1-9])", name):
        return BRIDGE_ADDRESS + (10 if found[1] == "m" else 20) + int(found[2]) - 1
    return BRIDGE_ADDRESS + 100 + index


def _unusable(names: Iterable[tuple[str, str]]) -> list[Problem]:
    """A problem for each (option, name) whose name can't be a lab's or a host's: names become paths, devices, cgroups."""
    return [
        Problem(
            where=where,
            what=f"not usable as a name ({value})",
            allowed="a letter first, then a-z, 0-9 and - between them, at most 8 characters",
            todo="choose another",
        )
        for where, value in names
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,6}[a-z0-9])?", value)
    ]


def require_name(name: str) -> None:
    """BadInput for what can't be a lab's name: `down` removes a folder of that name."""
    if found := _unusable([("--name", name)]):
        raise BadInput(found)


def new_lab(name: str, hosts: tuple[str, ...]) -> Lab:
    """A lab of those hosts. BadInput for names that can't be used, all at once."""
    found = _unusable([("--name", name), *(("--hosts", host) for host in hosts)])
    if len(set(hosts)) < len(hosts) or not hosts:
        found.append(
            Problem(
                where="--hosts",
                what=f"a name twice, or none ({','.join(hosts)})",
                allowed="each once",
                todo="correct it",
            )
        )
    if found:
        raise BadInput(found)
    return Lab(name=name, hosts=tuple(LabHost(name=h, address=_address(h, i)) for i, h in enumerate(hosts)))


def load(name: str) -> Lab:
    """The lab of that name. Failed when there is none, BadInput when that can't be a lab's name."""
    require_name(name)
    path = HOME / name / "lab.json"
    try:
        hosts = json.loads(path.read_text())
    except FileNotFoundError:
        what = "`lab up` did not end" if path.parent.exists() else "there is none"
        raise Failed(f"lab {name}: {what}; make it: kubewright lab up --name {name}") from None
    return Lab(name=name, hosts=tuple(LabHost(name=h, address=IPv4Address(a)) for h, a in hosts.items()))


def is_made(name: str) -> bool:
    """Whether `lab up` of that name finished."""
    return (HOME / name / "lab.json").exists()


def save(lab: Lab) -> None:
    """Write lab.json, which says that the lab is made, at once and whole."""
    disk.replace(lab.folder / "lab.json", json.dumps({h.name: str(h.address) for h in lab.hosts}).encode(), mode=0o644)


def cache_folder() -> Path:
    """The folder of base images, kept between labs."""
    return disk.cache_root() / "lab"
