"""A real registry (distribution) on a host of the lab: over TLS, once with a password and once without, with one storage."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import bcrypt

from kubewright.artifacts import Cache, SourceConfig, distribution, obtain
from kubewright.artifacts.gomod import machine_arch
from kubewright.artifacts.image_recipes import BUSYBOX
from kubewright.artifacts.images import Image, Member, write_image
from pki import certificates
from pki.certificates import Subject
from pki.identities import Signer, foreign
from tests.cluster.conftest import KUBEWRIGHT, Cluster, run
from tests.cluster.waiting import until

PLACE = "/var/tmp/registry"
OPEN, CLOSED = 5444, 5443
USER = "puller"
_CONFIG = """version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {place}/data}}}}
http: {{addr: "{address}:{port}", tls: {{certificate: {place}/tls.crt, key: {place}/tls.key}}}}
{auth}"""
_AUTH = f"auth: {{htpasswd: {{realm: lab, path: {PLACE}/htpasswd}}}}\n"


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The registry on `host`. `ca` signed its certificate."""

    cluster: Cluster
    host: str
    address: str
    ca: Signer
    password: str

    @property
    def pem(self) -> bytes:
        return certificates.to_pem(self.ca.certificate)

    def at(self, port: int) -> str:
        return f"{self.address}:{port}"

    def push(self, archive: Path, repository: str) -> None:
        """The archive's only image, as `repository` (NAME:TAG). From a namespace of its own: pods find nothing of it."""
        ctr = "ctr -n push images"
        _send(self.cluster, self.host, archive, f"{ctr} import -")
        target = f"{self.at(OPEN)}/{repository}"
        for verb in (f"tag --force $({ctr} ls -q | head -n 1)", f"push --local --tlscacert {PLACE}/ca.crt"):
            self.cluster.ssh(self.host, f"{ctr} {verb} {target}")
        self.cluster.ssh(self.host, f"{ctr} rm $({ctr} ls -q)")

    def stop(self) -> None:
        units = " ".join(f"registry-{port}" for port in (OPEN, CLOSED))
        self.cluster.ssh(self.host, f"systemctl stop {units}; rm -rf {PLACE}", check=False)


def started(cluster: Cluster, host: str, address: IPv4Address) -> Registry:
    """The registry on that host, once it answers."""
    ca, password = foreign("registries", "ecdsa-p256"), secrets.token_urlsafe(24)
    (program,) = obtain([distribution(machine_arch())], SourceConfig(kind="gomod"), Cache.default(), print)
    identity = ca.identity(Subject(common_name="registry", usages=("server",), addresses=(address,)), algorithm="ecdsa-p256")
    found = Registry(cluster=cluster, host=host, address=str(address), ca=ca, password=password)
    found.stop()
    cluster.ssh(host, f"install -d -m 0700 {PLACE}")
    _send(cluster, host, program.path, f"cat > {PLACE}/registry && chmod 0755 {PLACE}/registry")
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    texts = {"tls.crt": identity.certificate.decode(), "tls.key": identity.key.decode(), "ca.crt": found.pem.decode()}
    texts["htpasswd"] = f"{USER}:{hashed}\n"
    for port, auth in ((OPEN, ""), (CLOSED, _AUTH)):
        texts[f"{port}.yml"] = _CONFIG.format(place=PLACE, address=address, port=port, auth=auth)
    for name, text in texts.items():
        cluster.ssh(host, f"cat > {PLACE}/{name}", stdin=text)
    for port in (OPEN, CLOSED):
        cluster.ssh(host, f"systemd-run -q --unit registry-{port} {PLACE}/registry serve {PLACE}/{port}.yml")
        ask = f"curl -q -s -o /dev/null -w '%{{http_code}}' --noproxy '*' --cacert {PLACE}/ca.crt https://{found.at(port)}/v2/"
        until(f"the registry on {port} answers", lambda ask=ask: cluster.ssh(host, ask, check=False).stdout in ("200", "401"), 30)  # type: ignore[misc]
    return found


def image(folder: Path, reference: str) -> Path:
    """The archive of a new image that sleeps: no host has any of it."""
    target = folder / f"{reference.rpartition('/')[2].replace(':', '-')}.tar"
    members = (
        Member(path="busybox", content=BUSYBOX.resolve()),
        Member(path="id", mode=0o644, content=secrets.token_bytes(16)),
    )
    entrypoint = ("/busybox", "sleep", "86400")
    write_image(Image(reference=reference, arch=machine_arch(), members=members, entrypoint=entrypoint), target)
    return target


def _send(cluster: Cluster, host: str, file: Path, command: str) -> None:
    ssh = (KUBEWRIGHT, "lab", "ssh", "--name", cluster.lab_name, host, "--", command)
    run("sh", "-c", 'file=$1; shift; exec "$@" < "$file"', "sh", str(file), *ssh)
