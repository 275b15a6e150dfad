"""Clusters for measurements: a cluster.yaml of any size, with stand-ins for artifacts and hosts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from kubewright.artifacts import Artifact, Bundle, ImageArtifact, catalogue, image_recipes
from kubewright.model.cluster import Node
from kubewright.observe.observed import INSTALLED, PAYLOADS, Entry, Interface, Observed, UnitState
from kubewright.observe.text import parse
from kubewright.plan.desired import Desired, File, Link
from kubewright.releases import Release

MASTERS = 3
FIRST = IPv4Address("192.0.2.0") - (2 << 16)
"""The first address; any will do, since no host is contacted."""
_NOWHERE = Path("/nonexistent")
_RECORDED = Path(__file__).with_name("recorded") / "debian12.txt"


def document(addresses: Mapping[str, str], *, head: str = "") -> str:
    """A cluster.yaml of `count` hosts: the first three are masters with etcd, the others workers."""
    masters = MASTERS if len(addresses) >= MASTERS else 1
    # Large enough for a thousand nodes of /24.
    lines = ["name: bench", head, "network: {pods: 10.128.0.0/9, services: 10.96.0.0/16}", "hosts:"]
    for number, (name, address) in enumerate(addresses.items()):
        role = "master" if number < masters else "worker"
        lines.append(f"  - {{name: {name}, address: {address}, roles: [{role}]}}")
    return "\n".join(line for line in lines if line) + "\n"


def addresses(count: int) -> dict[str, str]:
    """That many hosts by name."""
    return {f"n{number:04}": str(FIRST + number) for number in range(1, count + 1)}


def bundle(release: Release, architecture: str) -> Bundle:
    """Stand-ins for a release's artifacts: names, versions and sizes; there is no file."""
    sha, size = "ab" * 32, 50_000_000
    of_all = {"arch": architecture, "sha256": sha, "size": size, "path": _NOWHERE, "zst_path": _NOWHERE}
    of_all |= {"zst_sha256": sha, "zst_size": size // 3, "source": "release"}
    wanted = catalogue(release, architecture)
    references = image_recipes.references(release)
    return Bundle(
        binaries=tuple(
            Artifact(component=w.component, name=w.name, version=w.version, says=w.version, **of_all)  # type: ignore[arg-type]
            for w in wanted
        ),
        images=tuple(ImageArtifact(reference=reference, **of_all) for reference in references.values()),  # type: ignore[arg-type]
    )


def recorded() -> Observed:
    """A bare host, from a recorded observation."""
    return parse(_RECORDED.read_text())


def bare(host: Observed, node: Node) -> Observed:
    """`host`, with the name and address of `node`."""
    card = Interface(name="eth1", mtu=1500, mac=f"52:54:{int(node.address):08x}")
    return replace(
        host,
        hostname=node.name,
        machine_id=f"{int(node.address):032x}",
        addresses=(str(node.address),),
        interfaces={str(node.address): card},
    )


def done(host: Observed, wanted: Mapping[str, Desired]) -> Observed:
    """`host` with everything in `wanted` installed and running: no differences."""
    parts = tuple(wanted.values())
    files = tuple(f for d in parts for f in (*d.files, *d.late))
    entries = {f.path: _entry(f) for f in files}
    entries |= {d.path: Entry(kind="d", mode=d.mode, owner=d.owner, group=d.group, size=0) for p in parts for d in p.directories}
    entries |= {link.path: _link(link) for p in parts for link in p.links}
    payloads = tuple(payload for p in parts for payload in p.payloads)
    entries |= {p.path: Entry(kind="f", mode=p.mode, owner="root", group="root", size=p.size) for p in payloads}
    records = {f.path: f.content.decode().splitlines() for f in files if isinstance(f.content, bytes)}
    return replace(
        host,
        entries=entries,
        packages=host.packages | {p for d in parts for p in d.packages},
        users=host.users | {u for d in parts for u in d.users},
        manifest={p.path: (p.sha256, p.size) for p in payloads},
        units={u.name: UnitState(active="active", enabled="enabled", started="1") for p in parts for u in p.units},
        started_with={u.name: _started(u.name, p) for p in parts for u in p.units},
        installed=tuple(records.get(INSTALLED, ())),
        payloads=tuple(records.get(PAYLOADS, ())),
        facts={about: value for part in parts for task in part.tasks for about, value in task.evidence.items()},
    )


def _entry(file: File) -> Entry:
    return Entry(kind="f", mode=file.mode, owner=file.owner, group=file.group, size=0, sha256=file.sha256)


def _link(link: Link) -> Entry:
    return Entry(kind="l", mode=0o777, owner="root", group="root", size=0, target=link.target)


def _started(unit: str, part: Desired) -> dict[str, str]:
    files = {f.path: f.sha256 for f in part.files if unit in f.restarts}
    return files | {link.path: link.target for link in part.links if unit in link.restarts}
