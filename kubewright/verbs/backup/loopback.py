"""One etcd member and one kube-apiserver on this machine's loopback, with a cluster's own certificates and keys."""

from __future__ import annotations

import shlex
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from kubewright import disk
from kubewright.errors import Failed
from kubewright.model.cluster import Plan
from pki import encryption, trust
from pki.authorities import ETCD, KUBERNETES, SERVICE_ACCOUNT
from pki.store import Store

PROGRAMS = ("etcd", "etcdctl", "etcdutl", "kube-apiserver")
NAME, HOST = "drill", "127.0.0.1"
READY = 120
"""Seconds that each of both may take to serve."""


@dataclass(kw_only=True)
class Loopback:
    """`folder` (0700) gets data, keys and logs. `programs`: paths by name. Use it as `with running(...)`."""

    folder: Path
    plan: Plan
    store: Store
    programs: Mapping[str, Path]
    client_port: int = 0
    peer_port: int = 0
    api_port: int = 0
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client_port, self.peer_port, self.api_port = _free_ports(3)
        member, master = self.plan.etcd_members[0].name, self.plan.masters[0].name
        for path, name in (
            ("server", f"etcd-server/{member}"),
            ("peer", f"etcd-peer/{member}"),
            ("root", f"etcd-root/{member}"),
            ("apiserver-etcd", f"apiserver-etcd-client/{master}"),
            ("apiserver", f"apiserver/{master}"),
            ("admin", "operator"),
        ):
            self._write(f"{path}.crt", self.store.certificate(name))
            self._write(f"{path}.key", self.store.key(name))
        self._write("etcd-ca.crt", trust.bundle(self.store.entries, ETCD.name))
        self._write("ca.crt", trust.bundle(self.store.entries, KUBERNETES.name))
        self._write("sa.pub", trust.bundle(self.store.entries, SERVICE_ACCOUNT))
        self._write("sa.key", self.store.key(SERVICE_ACCOUNT))
        self._write("encryption.yaml", self.store.key(encryption.ROW))

    def _write(self, name: str, content: bytes) -> None:
        disk.replace(self.folder / name, content)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def peer_url(self) -> str:
        return f"https://{HOST}:{self.peer_port}"

    def etcdctl(self) -> str:
        """The program with its options, as text for a shell."""
        at = self.folder
        words = [self.programs["etcdctl"], f"--endpoints=https://{HOST}:{self.client_port}", f"--cacert={at}/etcd-ca.crt"]
        return shlex.join(map(str, [*words, f"--cert={at}/root.crt", f"--key={at}/root.key"]))

    def ctl(self, *words: str) -> str:
        """etcdctl's answer. Failed when there is none."""
        command = [*shlex.split(self.etcdctl()), "--command-timeout=60s", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"etcdctl {words[0]} failed: {done.stderr.strip()[-300:]}")
        return done.stdout

    def restore(self, snapshot: Path, *options: str) -> None:
        """The snapshot becomes the data. Failed when etcdutl does not take it."""
        urls = (f"--initial-cluster={NAME}={self.peer_url}", f"--initial-advertise-peer-urls={self.peer_url}")
        words = (self.programs["etcdutl"], "snapshot", "restore", snapshot, f"--data-dir={self.data}", f"--name={NAME}")
        command = (*words, *urls, *options)
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"the snapshot can't be restored: {done.stderr.strip()[-300:]}")

    def start_etcd(self) -> None:
        at, client = self.folder, f"https://{HOST}:{self.client_port}"
        self._start(
            "etcd",
            {
                "name": NAME, "data-dir": self.data, "listen-client-urls": client, "advertise-client-urls": client,
                "listen-peer-urls": self.peer_url, "initial-advertise-peer-urls": self.peer_url,
                "initial-cluster": f"{NAME}={self.peer_url}", "client-cert-auth": "true", "trusted-ca-file": at / "etcd-ca.crt",
                "cert-file": at / "server.crt", "key-file": at / "server.key", "peer-client-cert-auth": "true",
                "peer-trusted-ca-file": at / "etcd-ca.crt", "peer-cert-file": at / "peer.crt", "peer-key-file": at / "peer.key",
                "log-level": "error",
            },
        )  # fmt: skip
        self._wait("etcd", self._etcd_ready)

    def start_api(self) -> None:
        """It serves this machine only, and only clients with a certificate of the cluster."""
        at = self.folder
        self._start(
            "kube-apiserver",
            {
                "etcd-servers": f"https://{HOST}:{self.client_port}", "etcd-cafile": at / "etcd-ca.crt",
                "etcd-certfile": at / "apiserver-etcd.crt", "etcd-keyfile": at / "apiserver-etcd.key",
                "bind-address": HOST, "secure-port": self.api_port, "advertise-address": str(self.plan.masters[0].address),
                "endpoint-reconciler-type": "none", "anonymous-auth": "false", "authorization-mode": "AlwaysAllow",
                "client-ca-file": at / "ca.crt", "tls-cert-file": at / "apiserver.crt",
                "tls-private-key-file": at / "apiserver.key",
                "encryption-provider-config": at / "encryption.yaml", "service-account-key-file": at / "sa.pub",
                "service-account-signing-key-file": at / "sa.key",
                "service-account-issuer": f"https://kubernetes.default.svc.{self.plan.domain}",
                "service-cluster-ip-range": str(self.plan.services), "service-node-port-range": self.plan.node_ports,
            },
        )  # fmt: skip
        with self.client() as client:
            self._wait("kube-apiserver", lambda: client.get("/readyz").status_code == 200)

    def client(self) -> httpx.Client:
        """The API as its administrator."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        context.load_cert_chain(self.folder / "admin.crt", self.folder / "admin.key")
        return httpx.Client(base_url=f"https://{HOST}:{self.api_port}", verify=context, timeout=60, trust_env=False)

    def stop(self) -> None:
        for process in reversed(self._running.values()):
            process.kill()
            process.wait()
        self._running.clear()

    def _start(self, program: str, flags: Mapping[str, object]) -> None:
        command = [str(self.programs[program]), *(f"--{name}={value}" for name, value in flags.items())]
        with (self.folder / f"{program}.log").open("ab") as log:
            self._running[program] = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder)

    def _etcd_ready(self) -> bool:
        return bool(self.ctl("endpoint", "health"))

    def _wait(self, program: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY
        while True:
            try:
                if ready():
                    return
            except (Failed, httpx.HTTPError):
                pass
            if self._running[program].poll() is not None or time.monotonic() > deadline:
                lines = (self.folder / f"{program}.log").read_text(errors="replace").strip().splitlines()[-3:]
                raise Failed(f"{program} does not serve on this machine: {' '.join(lines) or 'it says nothing'}")
            time.sleep(0.2)


@contextmanager
def running(folder: Path, plan: Plan, store: Store, programs: Mapping[str, Path]) -> Iterator[Loopback]:
    """Its processes end with the block."""
    folder.mkdir(mode=0o700, exist_ok=True)
    made = Loopback(folder=folder, plan=plan, store=store, programs=programs)
    try:
        yield made
    finally:
        made.stop()


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind((HOST, 0))
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports
