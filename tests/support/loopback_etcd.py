"""Real members of etcd on this machine's loopback addresses, with the certificates, flags and users that hosts have."""

from __future__ import annotations

import datetime as dt
import json
import secrets
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from kubewright.artifacts import Cache, Wanted
from kubewright.artifacts.gomod import cached, machine_arch
from kubewright.model.build import make_plan
from kubewright.model.cluster import ETCD_CLIENT_PORT, Node, Plan
from kubewright.model.etcd_rights import USERS, role_of
from kubewright.releases import DEFAULT
from roles.etcd.flags import bootstrap, flags
from tests.support.scenarios import filled_store, spec_of

PROGRAMS = ("etcd", "etcdctl", "etcdutl")
_SPEC = "name: loop\nhosts:\n"


@cache
def programs() -> Mapping[str, Path]:
    """Paths in the cache of artifacts; empty when they are not there."""
    store, found = Cache.default(), {}
    for name in PROGRAMS:
        entry = cached(Wanted(component="etcd", name=name, version=DEFAULT.etcd, arch=machine_arch()), store)
        if entry is None:
            return {}
        found[name] = store.blob(entry.sha256)
    return found


class Members:
    """The members m1, m2, ... of one cluster. `folder` holds everything."""

    def __init__(self, folder: Path, count: int = 1) -> None:
        net = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250)}"
        rows = [f"  - {{name: m{n}, address: {net}.{n}, roles: [master]}}\n" for n in range(1, count + 1)]
        self.folder = folder
        self.spec_text = _SPEC + "".join(rows)
        self.plan: Plan = make_plan(spec_of(self.spec_text, folder))
        self.store = filled_store(self.plan, folder / "inventory", dt.datetime.now(dt.UTC))
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        for node in self.plan.etcd_members:
            self._certificates(node)

    def _certificates(self, node: Node) -> None:
        pki = self.pki(node)
        pki.mkdir(parents=True)
        (pki / "ca.crt").write_bytes(self.store.certificate("ca/etcd"))
        for row in ("server", "peer", "root"):
            name = f"etcd-{row}/{node.name}"
            (pki / f"{row}.crt").write_bytes(self.store.certificate(name))
            (pki / f"{row}.key").write_bytes(self.store.key(name))

    def pki(self, node: Node) -> Path:
        return self.folder / node.name / "pki"

    def data(self, node: Node) -> Path:
        return self.folder / node.name / "data"

    def etcdctl(self, node: Node) -> str:
        """The program with its options, as text for a shell."""
        pki = self.pki(node)
        words = [str(programs()["etcdctl"]), f"--endpoints=https://{node.address}:{ETCD_CLIENT_PORT}", f"--cacert={pki}/ca.crt"]
        return shlex.join([*words, f"--cert={pki}/root.crt", f"--key={pki}/root.key"])

    def ctl(self, node: Node, *words: str, check: bool = True) -> str:
        command = [*shlex.split(self.etcdctl(node)), "--command-timeout=5s", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout if done.returncode == 0 else f"failed: {done.stderr}"

    def start(self, nodes: Sequence[Node] | None = None, token: str = "", *, ready: bool = True, quota: str = "") -> None:
        chosen = self.plan.etcd_members if nodes is None else nodes
        for node in chosen:
            wanted = dict(flags(self.plan, node)) | {"data-dir": str(self.data(node)), "log-level": "error"}
            wanted["listen-client-urls"] = f"https://{node.address}:{ETCD_CLIENT_PORT}"
            if quota:
                wanted["quota-backend-bytes"] = quota
            paths = {k: str(v).replace("/etc/etcd/pki", str(self.pki(node))) for k, v in wanted.items()}
            log = (self.folder / node.name / "log").open("ab")
            command = ["nice", "-n", "19", str(programs()["etcd"]), *(f"--{name}={value}" for name, value in paths.items())]
            self._running[node.name] = subprocess.Popen(
                command, env=bootstrap(self.plan, node, token), stdout=log, stderr=log, cwd=self.folder
            )
        for node in chosen if ready else ():
            self.wait(node)

    def wait(self, node: Node) -> None:
        deadline = time.monotonic() + 60
        while "failed" in (said := self.ctl(node, "endpoint", "health", check=False)):
            log = (self.folder / node.name / "log").read_text(errors="replace")[-1000:]
            assert time.monotonic() < deadline and self._running[node.name].poll() is None, f"{said}\n{log}"
            time.sleep(0.1)

    def stop(self, nodes: Sequence[Node] | None = None) -> None:
        for name in [n.name for n in nodes] if nodes is not None else list(self._running):
            if process := self._running.pop(name, None):
                process.kill()
                process.wait(30)

    def authenticate(self) -> None:
        """The users and roles that the role etcd_users makes."""
        first = self.plan.etcd_members[0]
        for user in USERS:
            self.ctl(first, "user", "add", user, "--no-password")
        for role in {"root", *map(role_of, USERS)}:
            self.ctl(first, "role", "add", role)
        for user in USERS:
            self.ctl(first, "user", "grant-role", user, role_of(user))
        self.ctl(first, "auth", "enable")

    def revision(self, node: Node) -> int:
        return int(json.loads(self.ctl(node, "endpoint", "status", "-w", "json"))[0]["Status"]["header"]["revision"])

    def members(self, node: Node) -> tuple[str, list[str]]:
        """The cluster's ID, and the members' names."""
        said = json.loads(self.ctl(node, "member", "list", "-w", "json"))
        return f"{said['header']['cluster_id']:x}", sorted(m.get("name", "") for m in said["members"])


@contextmanager
def running(folder: Path, count: int = 1) -> Iterator[Members]:
    """Started members with authentication on, as kubewright leaves them."""
    made = Members(folder, count)
    try:
        made.start()
        made.authenticate()
        yield made
    finally:
        made.stop()
