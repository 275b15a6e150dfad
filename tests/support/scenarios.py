"""Clusters with exactly known files: a spec, recorded hosts, a bundle without binaries, certificates."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from ruamel.yaml import YAML

from kubewright.artifacts import Bundle
from kubewright.artifacts.image_recipes import references
from kubewright.artifacts.model import Archive, Artifact, ImageArtifact, catalogue
from kubewright.model.build import make_plan
from kubewright.model.certificates import leaves
from kubewright.model.cluster import Plan
from kubewright.model.lineage import Lineage
from kubewright.observe.observed import Interface, Observed
from kubewright.observe.text import parse
from kubewright.plan.context import Context
from kubewright.plan.together import together
from kubewright.releases import Release
from kubewright.releases import systems as tables
from kubewright.spec import ClusterSpec
from pki import decisions, encryption
from pki.authorities import AUTHORITIES, SERVICE_ACCOUNT
from pki.store import Store

REPOSITORY = Path(__file__).parents[2]
RECORDED = Path(__file__).parent / "observed"
NOW = dt.datetime(2026, 11, 21, 10, 0, tzinfo=dt.UTC)

WIDENED = Lineage(
    name="x", uid="u", created="", etcd_id="1", etcd_token="x", members=(), settings={}, first_services="192.0.2.0/28"
)  # fmt: skip
"""The record of a cluster whose services' range is wider by now: with it every role with objects wants them."""
EL10 = """
name: el10
network: {backend: wireguard}
backup: {snapshots: hourly, keep: 24}
hosts:
  - {name: m1, address: 192.0.2.11, roles: [master]}
  - {name: w1, address: 192.0.2.31, roles: [worker], taints: ["dedicated=gpu:NoSchedule"]}
"""
SKYDNS = """
name: skydns
network: {dns_provider: skydns, dns_zones: [hosts.example.org]}
hosts:
  - {name: m1, address: 192.0.2.11, roles: [master]}
  - {name: m2, address: 192.0.2.12, roles: [master]}
  - {name: m3, address: 192.0.2.13, roles: [master]}
"""
IMAGES = """
name: images
images:
  mirrors:
    docker.io: ["https://mirror.example.org:5000", "https://harbor.example.org/v2/hub"]
    "*": ["http://plain.example.org:5000"]
  registries:
    - {host: "mirror.example.org:5000", ca: ca.crt, user: puller, password_file: password}
    - {host: "plain.example.org:5000", plain_http: true}
  image_repository: registry.example.org/k8s
hosts:
  - {name: m1, address: 192.0.2.11, roles: [master]}
"""
WRITTEN = {"el10": EL10, "skydns": SKYDNS, "images": IMAGES}
"""Scenarios that are no example inventory."""


def recorded(name: str) -> Observed:
    return parse((RECORDED / f"{name}.txt").read_text())


def spec_of(text: str, folder: Path = REPOSITORY) -> ClusterSpec:
    """The spec, unchecked, since keys and known_hosts files of the examples do not exist."""
    return ClusterSpec.model_validate(YAML(typ="safe").load(text), context={"folder": folder})


def inventory(name: str) -> ClusterSpec:
    folder = REPOSITORY / "inventories" / name
    return spec_of((folder / "cluster.yaml").read_text(), folder)


def fake_bundle(release: Release, arch: str = "amd64") -> Bundle:
    """Every artifact of a release, with a sum made from its name and no file."""

    def sha(name: str) -> str:
        return hashlib.sha256(name.encode()).hexdigest()

    nowhere = Path("/nonexistent")
    binaries = tuple(
        Artifact(
            component=w.component,
            name=w.name,
            version=w.version,
            arch=arch,
            says=w.version,
            sha256=sha(w.key),
            size=1000,
            path=nowhere,
            zst_path=nowhere,
            zst_sha256=sha(f"{w.key}.zst"),
            zst_size=100,
            source="fake",
        )
        for w in catalogue(release, arch)
    )
    images = tuple(
        ImageArtifact(
            reference=reference,
            arch=arch,
            sha256=sha(reference),
            size=1000,
            path=nowhere,
            zst_path=nowhere,
            zst_sha256=sha(f"{reference}.zst"),
            zst_size=100,
            source="fake",
        )
        for reference in references(release).values()
    )
    return Bundle(binaries=binaries, images=images)


def filled_store(plan: Plan, folder: Path, now: dt.datetime = NOW) -> Store:
    store = Store(folder)
    decisions.carry_out(AUTHORITIES, leaves(plan), (SERVICE_ACCOUNT,), store, plan.certificates, now)
    encryption.issue(store, now, serving=False)
    return store


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One cluster and the state of its hosts, which differ only in name and address."""

    name: str
    plan: Plan
    host: Observed
    store: Store
    bundle: Bundle

    def observed(self, name: str) -> Observed:
        node = self.plan.node(name)
        machine = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
        mac = ":".join(("52", "54", *(machine[i : i + 2] for i in range(0, 8, 2))))
        return dataclasses.replace(
            self.host,
            hostname=name,
            addresses=("127.0.0.1", str(node.address)),
            interfaces={str(node.address): Interface(name="eth1", mtu=1500, mac=mac)},
            machine_id=machine,
            free_kib={"/opt": 9 << 20},
        )

    def context(self, name: str, observed: Observed | None = None) -> Context:
        host = observed or self.observed(name)
        system = tables.system_of(host.os_id, host.os_version)
        assert system is not None
        return Context(
            plan=self.plan,
            node=self.plan.node(name),
            observed=host,
            system=system,
            certificates=self.store.entries,
            bundle=self.bundle,
            together=together(self.plan, {node.name: host for node in self.plan.nodes}),
        )


_RECORDING = {
    "lab": "debian12-cgroup1",
    "single": "debian12-cgroup1",
    "ha": "rocky9-enforcing",
    "vagrant": "centos9-enforcing",
    "el10": "almalinux10-enforcing",
    "skydns": "debian12-cgroup1",
    "images": "debian12-cgroup1",
}
NAMES = tuple(_RECORDING)


@functools.cache
def scenario(name: str) -> Scenario:
    """Made once per session, since issuing certificates takes time."""
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(_spec(name, Path(folder)))
        store = filled_store(plan, Path(folder))
        store.key(SERVICE_ACCOUNT)  # read now: the folder is removed afterwards
    return Scenario(name=name, plan=plan, host=recorded(_RECORDING[name]), store=store, bundle=_bundle(plan))


def _spec(name: str, folder: Path) -> ClusterSpec:
    if name not in WRITTEN:
        return inventory(name)
    spec = spec_of(WRITTEN[name], folder)
    (folder / "password").write_text("golden-password\n")
    (folder / "ca.crt").write_bytes(authority("registries"))
    return spec


def _bundle(plan: Plan) -> Bundle:
    if plan.cluster != "images":
        return fake_bundle(plan.release)
    sha = hashlib.sha256(b"app").hexdigest()
    names = ("registry.example.org/app:1", "docker.io/library/busybox:1.37")
    app = Archive(name="app", references=names, sha256=sha, size=1000, zst_path=Path("/nonexistent"), zst_size=100)
    return dataclasses.replace(fake_bundle(plan.release), archives=(app,))


def authority(name: str) -> bytes:
    """The certificate of a CA, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + dt.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM)


def hosts() -> list[tuple[str, str]]:
    """Every (scenario, host)."""
    found = []
    for name in NAMES:
        spec = spec_of(WRITTEN[name]) if name in WRITTEN else inventory(name)
        found += [(name, host.name) for host in spec.hosts]
    return found
