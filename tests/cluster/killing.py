"""Applies that are killed at moments drawn from a seed, and the checks afterwards. Shared by `make test` and `make soak`."""

from __future__ import annotations

import contextlib
import json
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from deploy.waves import ROLES
from kubewright.observe.observed import LINK_FOLDERS
from kubewright.plan.places import places
from pki.authorities import AUTHORITIES, SERVICE_ACCOUNT
from pki.store import INDEX, PRIVATE, Entry, Store
from tests.cluster.conftest import KUBEWRIGHT, REPOSITORY, Cluster, run

FRESH, ROLLING = "fresh", "rolling"
LINES = {FRESH: 42, ROLLING: 8}
"""The approximate number of lines about a finished role on a host in an undisturbed run: moments are spread over these, not
over time."""
LATER = {FRESH: 2.0, ROLLING: 4.0}
"""Up to so many seconds after the awaited line, in the middle of some work."""
STARTS = 6.0
"""The same before any line: Python starts, hosts are observed, certificates are issued, binaries are sent."""
TRIES = 20

Sums = dict[str, dict[str, str]]
"""By host and path: SHA-256, or `-> target` of a link."""

_OBSERVED = places(ROLES)
_FOLDERS = " ".join(_OBSERVED.folders)
_FILES = "-type f ! -name '*.kubewright' ! -name '*.new' ! -name .manifest"
_MANAGED = f"""cd /; sums() {{ xargs -0r sha256sum 2>/dev/null; }}
find {_FOLDERS} {_FILES} BUT -print0 2>/dev/null | sums
find {" ".join(_OBSERVED.alone)} /etc/systemd/system/*.service -maxdepth 0 {_FILES} -print0 2>/dev/null | sums
find {_FOLDERS} {" ".join(LINK_FOLDERS)} -type l -printf '-> %l  %p\\n' 2>/dev/null
find /etc/kubernetes /etc/etcd /etc/flannel -name '*.key*' -perm /077 -printf 'open  %p\\n' 2>/dev/null; true"""
_STRAYS = f"""find {_FOLDERS} /etc/systemd/system /usr/local/bin /var/lib/kubewright \\
  \\( -name '*.kubewright' -o -name '*.new' -o -name '.staged.*' \\) 2>/dev/null; true"""


Moment = tuple[int, float]
"""The moment after so many such lines of a run, and so many seconds."""


def moments(kind: str, seed: int, kills: int) -> list[Moment]:
    """The moment of each kill, spread over the work of one undisturbed run."""
    chance = random.Random(f"{kind} {seed}")  # noqa: S311 (no secret)
    progress = sorted(chance.randint(0, LINES[kind]) for _ in range(kills))
    lines = [now - before for before, now in zip([0, *progress], progress, strict=False)]
    return [(number, chance.uniform(0, LATER[kind] if number else STARTS)) for number in lines]


def killed(cluster: Cluster, moment: Moment) -> bool:
    """Apply, and SIGKILL at that moment. Returns whether it was killed: it may have finished before, with success."""
    command = [KUBEWRIGHT, "apply", "-i", str(cluster.inventory)]
    left, seconds = moment
    said = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        while left and (line := process.stdout.readline()):
            said.append(line)
            left -= "changes," in line.split()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return True
        said += process.stdout.readlines()
        assert process.wait() == 0, "".join(said)
    return False


def authorities(cluster: Cluster) -> dict[str, Entry]:
    """The existing authorities and service-account pair."""
    entries = Store(cluster.inventory).entries
    names = [*(authority.name for authority in AUTHORITIES), SERVICE_ACCOUNT]
    return {name: entries[name] for name in names if name in entries}


def wanted(cluster: Cluster) -> Sums:
    """The wanted content of every managed file, from cluster.yaml, the certificates and the hosts."""
    command = (sys.executable, "-m", "tests.cluster.wanted", str(cluster.inventory))
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=700, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def _everywhere(cluster: Cluster, command: str) -> dict[str, list[str]]:
    names = [host.name for host in cluster.lab.hosts]
    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(lambda name: cluster.ssh(name, command).stdout.splitlines(), names), strict=True))


def on_hosts(cluster: Cluster, *, binaries: bool) -> Sums:
    """The current files, even while a killed run's commands still work; `open` for a key that others may read."""
    lines = _everywhere(cluster, _MANAGED.replace("BUT", "" if binaries else "! -path '/opt/kubewright/*'"))
    return {name: {path: sha for sha, _, path in (line.rpartition("  ") for line in found)} for name, found in lines.items()}


def torn(found: Sums, *whole: Sums) -> list[str]:
    """Managed files that exist and match none of `whole`."""
    return [
        f"{host}: {path} ({now})"
        for host, files in found.items()
        for path, now in files.items()
        if (allowed := {sums[host][path] for sums in whole if path in sums.get(host, {})}) and now not in allowed
    ]


def converged(cluster: Cluster) -> None:
    """No changes remain, no half-written files are left, every check passes."""
    hosts = len(cluster.lab.hosts)
    assert f"nothing to change on {hosts} hosts" in cluster.kubewright("apply").stdout
    assert cluster.kubewright("plan").stdout.strip() == "nothing to change"
    assert not any(_everywhere(cluster, _STRAYS).values()), _everywhere(cluster, _STRAYS)
    # The others need some time to notice that a host is back.
    cluster.verified()


@dataclass(kw_only=True)
class Killing:
    """Applies of one kind, killed. `new_work` gives the next run work when one finished before its kill."""

    cluster: Cluster
    kind: str
    seed: int
    kills: int
    new_work: Callable[[], None]
    done: int = 0
    tries: int = 0
    compared: int = 0
    """The number of files whose sum was compared."""
    before: Sums = field(default_factory=dict)
    moments: list[Moment] = field(default_factory=list)

    def run(self) -> str:
        """All the kills, with checks after each; then one run to the end. Returns the result as a sentence."""
        self.new_work()
        while self.done < self.kills:
            for moment in moments(self.kind, self.seed + 1000 * self.tries, self.kills - self.done):
                if not self._one(moment):
                    break
            self.tries += 1
            assert self.tries < TRIES, f"{self.done} of {self.kills} kills after {self.tries} tries: they end too early"
        kept = authorities(self.cluster)
        self.cluster.kubewright("apply")
        assert kept.items() <= authorities(self.cluster).items()
        converged(self.cluster)
        when = ", ".join(f"{lines} + {seconds:.1f} s" for lines, seconds in self.moments)
        return f"{self.kind} apply killed {self.done} times ({when}), seed {self.seed}, {self.compared} sums of files compared"

    def _one(self, moment: Moment) -> bool:
        kept = authorities(self.cluster)
        if not killed(self.cluster, moment):
            self.before = wanted(self.cluster)
            self.new_work()
            return False
        found = on_hosts(self.cluster, binaries=self.kind == FRESH)
        assert not any("open" in files.values() for files in found.values()), f"others may read a key: {found}"
        # The wanted files are known now: the killed run may have issued the certificates.
        now = wanted(self.cluster)
        bad = torn(found, self.before if self.kind == ROLLING else {}, now)
        assert not bad, f"neither old nor new after a kill at {moment} (seed {self.seed}): {bad}"
        assert kept.items() <= authorities(self.cluster).items(), "an authority was replaced"
        self.compared += sum(len(found[host].keys() & now[host].keys()) for host in found)
        self.done += 1
        self.moments.append(moment)
        print(
            f"{time.strftime('%H:%M:%S')} {self.kind} apply killed, {moment[0]} lines + {moment[1]:.1f} s; all is whole",
            flush=True,
        )
        return True


_WRITE = """i=0; rm -f /run/stop; while [ ! -e /run/stop ]; do i=$((i+1))
kubectl --kubeconfig=/etc/kubernetes/admin.conf create configmap w-$i --from-literal=n=$i --request-timeout=5s >/dev/null 2>&1 &&
echo w-$i=$i; sleep 0.1; done"""
_READ = '{range .items[*]}{.metadata.name}={.data.n}{"\\n"}{end}'


@contextlib.contextmanager
def writing(cluster: Cluster, host: str) -> Iterator[list[str]]:
    """Writes through `host`'s apiserver during the block. Afterwards the list has every acknowledged write, and all were
    read back."""
    # A new namespace each time: an earlier one may still be terminating.
    namespace = f"acknowledged-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", namespace)
    command = [KUBEWRIGHT, "lab", "ssh", "--name", cluster.lab_name, host, "--"]
    command.append(_WRITE.replace("create configmap", f"-n {namespace} create configmap"))
    acknowledged: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        try:
            yield acknowledged
        finally:
            cluster.ssh(host, "touch /run/stop")
            acknowledged += writer.communicate(timeout=60)[0].split()
    present = cluster.kubectl("get", "configmaps", "-n", namespace, "-o", f"jsonpath={_READ}").stdout.split()
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    assert acknowledged, "no write was acknowledged"
    lost = sorted(set(acknowledged) - set(present))
    assert not lost, f"acknowledged and lost: {lost}"


def rolling_change(cluster: Cluster, chance: random.Random) -> None:
    """Changed flags of etcd, the apiserver and the kubelet: every master restarts all three."""
    minutes, snapshots, verbosity = chance.randint(60, 900), chance.randint(6, 900), chance.randint(1, 4)
    etcd, kubelet = f"etcd: {{max-snapshots: '{snapshots}'}}", f"kubelet: {{v: '{verbosity}'}}"
    edit(cluster, f"{{kube-apiserver: {{event-ttl: {minutes}m}}, {etcd}, {kubelet}}}")


def edit(cluster: Cluster, extra_args: str) -> None:
    """The spec with these `extra_args` in place of its own."""
    path = cluster.inventory / "cluster.yaml"
    path.write_text(path.read_text().partition("extra_args:")[0] + (f"extra_args: {extra_args}\n" if extra_args else ""))


def kill_fresh(cluster: Cluster, seed: int, kills: int) -> str:
    """From bare hosts to a complete cluster with new authorities, with that many kills."""
    rounds = iter(range(TRIES))

    def new_work() -> None:
        if next(rounds):
            reset(cluster)
        for name in (INDEX, PRIVATE):
            (cluster.inventory / name).unlink(missing_ok=True)

    return Killing(cluster=cluster, kind=FRESH, seed=seed, kills=kills, new_work=new_work).run()


def kill_rolling(cluster: Cluster, seed: int, kills: int) -> str:
    """A change of flags on a serving cluster with a writer, with that many kills."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    killing = Killing(
        cluster=cluster,
        kind=ROLLING,
        seed=seed,
        kills=kills,
        new_work=lambda: rolling_change(cluster, chance),
        before=wanted(cluster),
    )
    with writing(cluster, "m2") as acknowledged:
        said = killing.run()
    return f"{said}; {len(acknowledged)} acknowledged writes, all read back"


def reset(cluster: Cluster) -> None:
    """Back to empty hosts. The data is not needed."""
    run(KUBEWRIGHT, "reset", "-i", str(cluster.inventory), "--confirm", "lab", "--no-snapshot", timeout=600)
