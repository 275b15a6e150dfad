"""etcd, kube-apiserver, kube2sky and CoreDNS of one cluster, on this machine's loopback, without a lab.

Real programs, TLS with both ends authenticated, etcd's users as the role etcd_users makes them. Nothing else runs: no
controller, no kubelet; a test makes EndpointSlices itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rdatatype
import httpx
from ruamel.yaml import YAML

from kubewright.artifacts import Bundle, SourceConfig, obtain_all
from kubewright.artifacts.gomod import machine_arch
from kubewright.model.build import make_plan
from kubewright.model.certificates import ROWS
from kubewright.model.cluster import Plan
from kubewright.model.etcd_rights import ROOT, USERS, role_of, way_of
from kubewright.plan.context import render
from kubewright.releases import DEFAULT
from pki import certificates
from pki.certificates import Subject
from pki.identities import Signer, foreign
from roles.coredns.corefile import corefile
from roles.kube2sky_rights.role import manifest
from tests.cluster.waiting import until
from tests.support.scenarios import spec_of

HERE = "127.0.0.1"
SPEC = """
name: loopback
network: {dns_provider: skydns, dns_zones: [hosts.example.org]}
hosts:
  - {name: m1, address: 192.0.2.11, roles: [master]}
"""
_CLIENT = ("client",)


def free_port() -> int:
    with socket.create_server((HERE, 0)) as one:
        return int(one.getsockname()[1])


@dataclass
class Components:
    """The running programs. `plan` is the one that the Corefile is made from."""

    folder: Path
    bundle: Bundle
    plan: Plan
    etcd_ca: Signer
    ca: Signer
    ports: dict[str, int] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    api: httpx.Client = field(init=False)

    def port(self, name: str) -> int:
        return self.ports.setdefault(name, free_port())

    def program(self, name: str) -> str:
        return str(self.bundle.binary(name).path)

    def identity(self, signer: Signer, common_name: str, path: str, *groups: str, server: bool = False) -> str:
        """A certificate and its key at PATH.crt and PATH.key below the folder; the path without its ending."""
        subject = Subject(
            common_name=common_name,
            organizations=groups,
            usages=("server", "client") if server else _CLIENT,
            dns_names=("localhost",) if server else (),
            addresses=(IPv4Address(HERE),) if server else (),
        )
        made = signer.identity(subject, algorithm="ecdsa-p256")
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.with_name(target.name + ".crt").write_bytes(made.certificate)
        key = target.with_name(target.name + ".key")
        key.touch(mode=0o600)
        key.write_bytes(made.key)
        return str(target)

    def start(self, name: str, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """A program, its output in NAME.log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env={**os.environ, **environment}
            )
        self.running[name] = child
        return child

    def kill(self, name: str) -> None:
        child = self.running.pop(name)
        child.kill()
        child.wait()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def alive(self) -> None:
        for name, child in self.running.items():
            if child.poll() is not None:
                raise RuntimeError(f"{name} has ended:\n{self.log(name)[-3000:]}")

    def etcdctl(self, *arguments: str, who: str = "root", check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [
            self.program("etcdctl"),
            f"--endpoints=https://{HERE}:{self.port('etcd')}",
            f"--cacert={self.folder}/etcd-ca.crt",
        ]
        command += [f"--cert={self.folder}/etcd/{who}.crt", f"--key={self.folder}/etcd/{who}.key", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    def kubeconfig(self, name: str, path: str) -> str:
        text = render("kubeconfig.j2", cluster="loopback", server=f"https://{HERE}:{self.port('api')}", user=name, path=path)
        file = self.folder / f"{name}.conf"
        file.write_text(text.decode().replace("/etc/kubernetes/pki/ca.crt", f"{self.folder}/ca.crt"))
        return str(file)

    def create(self, path: str, *objects: dict[str, Any]) -> None:
        for each in objects:
            answer = self.api.post(path, json=each)
            assert answer.status_code in (200, 201), answer.text

    def start_etcd(self) -> None:
        server = self.identity(self.etcd_ca, "kube-etcd", "etcd/server", server=True)
        client, peer = f"https://{HERE}:{self.port('etcd')}", f"https://{HERE}:{self.port('peer')}"
        pair = (f"--cert-file={server}.crt", f"--key-file={server}.key", f"--trusted-ca-file={self.folder}/etcd-ca.crt")
        peers = tuple(each.replace("--", "--peer-", 1) for each in pair)
        self.start(
            "etcd", self.program("etcd"), f"--data-dir={self.folder}/data", f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}", "--client-cert-auth", "--peer-client-cert-auth", "--unsafe-no-fsync",
            "--log-level=warn", *pair, *peers,
        )  # fmt: skip
        for user in USERS:
            self.identity(self.etcd_ca, user, f"etcd/{user}")
        until("etcd answers", lambda: self.etcdctl("endpoint", "health", check=False).returncode == 0, 30)
        for role in sorted({ROOT, *map(role_of, USERS)}):
            self.etcdctl("role", "add", role)
        for user, prefix in USERS.items():
            self.etcdctl("user", "add", user, "--no-password")
            if prefix:
                self.etcdctl("role", "grant-permission", role_of(user), "--prefix=true", way_of(user), prefix)
            self.etcdctl("user", "grant-role", user, role_of(user))
        self.etcdctl("auth", "enable")

    def start_api(self) -> None:
        server = self.identity(self.ca, "kube-apiserver", "api/server", server=True)
        admin = self.identity(self.ca, "admin", "api/admin", "system:masters")
        client = self.folder / "etcd" / ROWS["apiserver-etcd-client"].common_name
        self.start(
            "api", self.program("kube-apiserver"), f"--etcd-servers=https://{HERE}:{self.port('etcd')}",
            f"--etcd-cafile={self.folder}/etcd-ca.crt", f"--etcd-certfile={client}.crt", f"--etcd-keyfile={client}.key",
            f"--secure-port={self.port('api')}", f"--bind-address={HERE}", "--endpoint-reconciler-type=none",
            f"--tls-cert-file={server}.crt", f"--tls-private-key-file={server}.key", f"--client-ca-file={self.folder}/ca.crt",
            f"--service-account-key-file={server}.crt", f"--service-account-signing-key-file={server}.key",
            "--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=RBAC",
            f"--service-cluster-ip-range={self.plan.services}", "--disable-admission-plugins=ServiceAccount",
        )  # fmt: skip
        trust = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        trust.load_cert_chain(f"{admin}.crt", f"{admin}.key")
        self.api = httpx.Client(base_url=f"https://{HERE}:{self.port('api')}", verify=trust, timeout=60, trust_env=False)

        def ready() -> bool:
            self.alive()
            with contextlib.suppress(httpx.TransportError):
                return self.api.get("/readyz").status_code == 200
            return False

        until("the apiserver is ready", ready, 60)
        until("default exists", lambda: self.api.get("/api/v1/namespaces/default").status_code == 200, 30)

    def grant(self) -> None:
        """kube2sky's rights, as its role applies them."""
        until("kube-system exists", lambda: self.api.get("/api/v1/namespaces/kube-system").status_code == 200, 30)
        for each in YAML(typ="safe").load_all(manifest()):
            within = f"namespaces/{each['metadata']['namespace']}/" if "namespace" in each["metadata"] else ""
            self.create(f"/apis/rbac.authorization.k8s.io/v1/{within}{each['kind'].lower()}s", each)

    def start_kube2sky(self, name: str = "kube2sky") -> None:
        client = self.identity(self.ca, ROWS["kube2sky-client"].common_name, f"{name}/client")
        etcd = self.folder / "etcd" / "kube2sky"
        self.start(
            name, self.program("kube2sky"), f"--kubeconfig={self.kubeconfig(name, client)}", f"--domain={self.plan.domain}",
            f"--etcd-endpoints=https://{HERE}:{self.port('etcd')}", f"--etcd-cafile={self.folder}/etcd-ca.crt",
            f"--etcd-certfile={etcd}.crt", f"--etcd-keyfile={etcd}.key", f"--listen={HERE}:{self.port(name)}", f"--id={name}",
        )  # fmt: skip

    def asked(self, name: str, path: str) -> httpx.Response | None:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://{HERE}:{self.port(name)}{path}", timeout=10, trust_env=False)
        return None

    def is_ready(self, name: str = "kube2sky") -> bool:
        answer = self.asked(name, "/readyz")
        assert answer is not None, f"no answer:\n{self.log(name)[-3000:]}"
        assert answer.status_code == 200, answer.text
        return True

    def metric(self, metric: str, name: str = "kube2sky") -> float:
        answer = self.asked(name, "/metrics")
        assert answer is not None
        found = re.search(rf"^kube2sky_{metric} (\S+)$", answer.text, re.MULTILINE)
        assert found, answer.text
        return float(found[1])

    def records(self) -> dict[str, str]:
        """All keys below /skydns/, without kube2sky's own state."""
        lines = self.etcdctl("get", "--prefix", "/skydns/").stdout.splitlines()
        return {key: value for key, value in zip(lines[::2], lines[1::2], strict=True) if "/_kube2sky/" not in key}

    def start_coredns(self, provider: str) -> None:
        """CoreDNS with the cluster's own Corefile; its ports and paths are this machine's."""
        plan = replace(self.plan, dns_provider=provider, dns_zones=self.plan.dns_zones if provider == "skydns" else ())
        for ending in ("crt", "key"):
            target = self.folder / "coredns" / f"coredns.{ending}"
            target.parent.mkdir(exist_ok=True)
            target.write_bytes((self.folder / f"etcd/coredns.{ending}").read_bytes())
        (self.folder / "coredns/ca.crt").write_bytes((self.folder / "etcd-ca.crt").read_bytes())
        admin = self.kubeconfig("admin", f"{self.folder}/api/admin")
        text = corefile(plan, forwards=False, pki=f"{self.folder}/coredns", port=self.port(provider))
        text = text.replace(plan.etcd_endpoints[0], f"https://{HERE}:{self.port('etcd')}")
        text = text.replace("    prometheus :9153\n", f"    bind {HERE}\n").replace(
            "    pods insecure", f"    kubeconfig {admin}\n    pods insecure"
        )
        text = text.replace("    ready\n", "").replace("    health {", f"    health {HERE}:{self.port(provider + '-health')} {{")
        file = self.folder / f"Corefile.{provider}"
        file.write_text(text)
        self.start(provider, self.program("coredns"), "-conf", str(file))
        until(f"CoreDNS answers ({provider})", lambda: self._answers(provider), 30)

    def _answers(self, provider: str) -> bool:
        self.alive()
        with contextlib.suppress(AssertionError, OSError, dns.exception.Timeout):
            return self.ask(provider, "kubernetes.default.svc." + self.plan.domain)[0] == "NOERROR"
        return False

    def ask(self, provider: str, name: str, kind: str = "A") -> tuple[str, frozenset[str]]:
        """The code of the answer, and its records without times to live and SRV's priority."""
        question = dns.message.make_query(name, kind)
        question.flags |= dns.flags.RD
        answer = dns.query.udp(question, HERE, port=self.port(provider), timeout=6)
        if answer.flags & dns.flags.TC:
            answer = dns.query.tcp(question, HERE, port=self.port(provider), timeout=6)
        return dns.rcode.to_text(answer.rcode()), frozenset(_lines(answer))

    def stop(self) -> None:
        for child in self.running.values():
            child.terminate()
        for child in self.running.values():
            timer = threading.Timer(15, child.kill)
            timer.start()
            child.wait()
            timer.cancel()


def _lines(answer: dns.message.Message) -> Iterator[str]:
    for found in answer.answer:
        kind = dns.rdatatype.to_text(found.rdtype)
        for each in found:
            text = each.to_text().split(" ", 1)[1] if kind == "SRV" else each.to_text()
            yield f"{found.name} {kind} {text}".lower()


@contextmanager
def components(folder: Path) -> Iterator[Components]:
    """etcd and the API, until the end of the block; the caller starts the rest."""
    bundle = obtain_all(DEFAULT, machine_arch(), SourceConfig(), print, test_images=False)
    made = Components(
        folder=folder, bundle=bundle, plan=make_plan(spec_of(SPEC)), etcd_ca=foreign("etcd-ca", "ecdsa-p256"),
        ca=foreign("kubernetes-ca", "ecdsa-p256"),
    )  # fmt: skip
    (folder / "etcd-ca.crt").write_bytes(certificates.to_pem(made.etcd_ca.certificate))
    (folder / "ca.crt").write_bytes(certificates.to_pem(made.ca.certificate))
    try:
        made.start_etcd()
        made.start_api()
        made.grant()
        yield made
    finally:
        made.stop()


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = spec.pop("ports", [{"name": "http", "port": 80}])
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": ports, **spec}}


def slice_of(
    of: str, *endpoints: dict[str, Any], ports: list[dict[str, Any]], kind: str = "IPv4", name: str = ""
) -> dict[str, Any]:
    metadata = {"name": name or f"{of}-1", "labels": {"kubernetes.io/service-name": of}}
    made = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, "addressType": kind}
    return {**made, "ports": ports, "endpoints": list(endpoints)}
