"""Other inventories: a single host, stock pyinfra, and users other than root. No secret is visible anywhere."""

from __future__ import annotations

import base64
import contextlib
import json
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from kubewright.lab.model import HOME
from pki import encryption
from pki.store import Store
from tests.cluster.conftest import KUBEWRIGHT, REPOSITORY, Cluster, Done, import_test_image, kubewright, run, write_inventory
from tests.cluster.waiting import until
from tests.pki.brought import CHAIN, OURS

pytestmark = pytest.mark.cluster

PYINFRA = str(Path(sys.executable).with_name("pyinfra"))
TWO_HOSTS = """hosts:
  - {name: m1, address: 10.90.0.11, roles: [master]}
  - {name: w1, address: 10.90.0.21, roles: [worker]}
"""
FOLDERS = "/etc /opt /usr/local /var/lib/kubewright /var/lib/etcd /var/lib/kubelet"
EVERYTHING = (
    rf"find {FOLDERS} -xdev ! -path '*/.staged.*' ! -path '*/member/*' ! -path '/var/lib/kubelet/*/*' "
    r"-printf '%p %m %u %T@\n' 2>/dev/null | sort; "
    "systemctl show -p Id,ActiveEnterTimestampMonotonic 'kube*' etcd containerd flanneld haproxy"
)
"""Every file of ours with its time, every unit with the time of its start, to find changes on a host."""


@contextlib.contextmanager
def fresh(name: str, folder: Path, hosts: str, extra: str = "") -> Iterator[Cluster]:
    """A lab of the hosts in `hosts`, a piece of cluster.yaml; nothing is installed."""
    names = [word.split("name: ")[1].split(",")[0] for word in hosts.splitlines() if "name: " in word]
    kubewright("lab", "down", "--name", name)
    try:
        kubewright("lab", "up", "--name", name, "--hosts", ",".join(names))
        yield Cluster(inventory=write_inventory(folder, name, hosts, extra), lab_name=name)
    finally:
        kubewright("lab", "down", "--name", name)


def changed_nothing(done: Done, hosts: int) -> bool:
    return f"nothing to change on {hosts} hosts" in done.stdout


def verified(cluster: Cluster) -> Done:
    """`verify`, until it passes: pods may start after the end of `apply`."""

    def holds() -> Done | None:
        done = cluster.kubewright("verify", "--json", check=False)
        failed = [result for result in json.loads(done.stdout) if not result["holds"]]
        assert not failed, failed
        return done

    found = until("every check holds", holds, 60)
    assert found is not None and found.returncode == 0 and len(json.loads(found.stdout)) > 10
    return found


def test_one_host_is_master_and_worker_and_runs_pods(tmp_path: Path, test_image: str) -> None:
    hosts = "hosts:\n  - {name: m1, address: 10.90.0.11, roles: [master, worker]}\n"
    with fresh("inv-one", tmp_path, hosts) as one:
        one.kubewright("apply")
        verified(one)
        assert changed_nothing(one.kubewright("apply"), 1)
        assert one.kubectl("get", "nodes", "-o", "jsonpath={.items[*].spec.taints}").stdout == ""
        ready = "jsonpath={.spec.replicas}/{.status.readyReplicas}"
        assert one.kubectl("-n", "kube-system", "get", "deployment", "coredns", "-o", ready).stdout == "1/1"
        import_test_image(one)
        one.kubectl("run", "probe", f"--image={test_image}", "--image-pull-policy=Never", "--restart=Never", "--", "pause")
        one.kubectl("wait", "--for=condition=Ready", "pod/probe", "--timeout=60s")
        found = one.kubectl("exec", "probe", "--", "nslookup", "kubernetes.default.svc.cluster.local")
        assert "10.96.0.1" in found.stdout


@pytest.mark.soak
def test_a_companys_intermediate_signs_with_a_key_from_a_vault(tmp_path: Path) -> None:
    for name, content in (("ca.crt", CHAIN), ("ca.key", OURS.key_pem()), ("password", b"one of ours\n")):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    hosts = "hosts:\n  - {name: m1, address: 10.90.0.11, roles: [master, worker]}\n"
    own = "pki: {kubernetes_ca: ca.crt, kubernetes_ca_key: ca.key}\nsecrets: {password_file: password}\n"
    with fresh("inv-own", tmp_path, hosts, own) as one:
        one.kubewright("apply")
        kubewright("secrets", "encrypt", "-i", str(tmp_path))
        (tmp_path / "ca.key").unlink()  # it was imported into the vault
        assert (tmp_path / "secrets" / "keys.json").read_text().startswith("$ANSIBLE_VAULT;")
        before = one.ssh("m1", "cat /etc/kubernetes/pki/apiserver.crt").stdout
        kubewright("certs", "renew", "-i", str(tmp_path), "apiserver")
        served = one.ssh("m1", "cat /etc/kubernetes/pki/apiserver.crt").stdout
        assert served != before
        issuer = x509.load_pem_x509_certificate(served.encode()).issuer
        assert issuer == OURS.certificate.subject
        verified(one)
        assert changed_nothing(one.kubewright("apply"), 1)


def test_stock_pyinfra_makes_the_same_cluster(tmp_path: Path) -> None:
    with fresh("inv-py", tmp_path, TWO_HOSTS) as two:

        def pyinfra(options: str = "-y") -> Done:
            script = f'cd {REPOSITORY} && exec {PYINFRA} {options} "$0" deploy/cluster.py'
            return two.exec("sh", "-c", script, str(two.inventory / "inventory.py"), timeout=600)

        def would_change() -> dict[str, list[str]]:
            """Hosts by step, from the output of `pyinfra --dry`."""
            plan = json.loads(pyinfra("--dry --json").stdout)["plan"]
            return {step["name"].removeprefix("Kubernetes | "): step["hosts_with_change"] for step in plan}

        def everything() -> dict[str, str]:
            return {host: two.ssh(host, EVERYTHING).stdout for host in ("m1", "w1")}

        bare = everything()
        dry = would_change()
        assert dry["etcd"] == ["m1"] and dry["kubelets"] == ["m1", "w1"] and dry["observe"] == []
        assert everything() == bare
        pyinfra()
        assert changed_nothing(two.kubewright("apply"), 2)
        before = everything()
        assert not any(would_change().values()), "settled"
        pyinfra()
        assert everything() == before
        two.ssh("w1", "echo '# by hand' >> /etc/kubernetes/kube-proxy.yaml")
        assert {step: hosts for step, hosts in would_change().items() if hosts} == {"kubelets": ["w1"]}
        pyinfra()
        assert not any(would_change().values())
        runs = [run["outcome"] for run in json.loads(two.kubewright("history", "--json").stdout)]
        assert runs == ["done", "done"], "a run with nothing to change is none"
        two.kubectl("wait", "--for=condition=Ready", "node/m1", "node/w1", "--timeout=60s")


# -- users with sudo, and secrets


WATCH = """umask 077; cat > /run/watched; echo > /run/rounds; renice -n 15 $$ >/dev/null
while [ ! -e /run/enough ]; do
  for f in $(grep -lasF -f /run/watched /proc/[0-9]*/cmdline /proc/[0-9]*/environ); do
    echo "$f: $(tr '\\0' ' ' < $f)"
  done
  find /etc /home /opt /root /run /tmp /var/lib/etcd /var/lib/kubewright /var/log /var/tmp /dev/shm -xdev -type f -perm /077 \\
    ! -path '/opt/kubewright/*' ! -path '/root/.kube/cache/*' -size -2048k -print0 2>/dev/null \\
    | xargs -0 -r grep -lasF -f /run/watched | sed 's/^/others read: /'
  echo >> /run/rounds
done"""
"""Searches every process of a host, and every file that others than its owner may read, repeatedly. The search words come on
standard input, so that it does not find itself. Not searched: binaries, which may be there in part, and the API's
documentation in kubectl's cache, since both have words with which keys begin."""

PRIVATE = ("PRIVATE KEY", "kind: EncryptionConfiguration")
"""Words that are known before any key is made."""
IN_BASE64 = tuple(base64.b64encode(f"-----BEGIN {kind}PRIVATE KEY".encode()).decode()[:28] for kind in ("", "EC ", "RSA "))


class Watcher:
    """`WATCH` on one host, until `found` is called."""

    def __init__(self, cluster: Cluster, host: str, secrets: list[str]) -> None:
        self._cluster, self._host = cluster, host
        command = [KUBEWRIGHT, "lab", "ssh", "--name", cluster.lab_name, host, "--", WATCH]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._process.stdin.write("\n".join([*secrets, ""]))
        self._process.stdin.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)

    def found(self) -> list[str]:
        """Its findings so far. It must also find a password that is shown on purpose."""
        seen = list(self._lines)
        rounds = int(self._cluster.ssh(self._host, "wc -l < /run/rounds").stdout)
        assert rounds > 50, f"it looked {rounds} times only"
        shown = 'SHOWN="$(head -1 /run/watched)" setsid sleep 20 >/dev/null 2>&1 & echo $!'
        self._cluster.ssh(self._host, shown)
        self._cluster.ssh(self._host, "umask 022; head -1 /run/watched > /tmp/shown")
        wanted = ("SHOWN=", "others read: /tmp/shown")
        until("the watcher sees what is shown", lambda: all(any(w in line for line in self._lines) for w in wanted), 15)
        self._cluster.ssh(self._host, "touch /run/enough; rm /tmp/shown")
        self._process.wait(timeout=30)
        return seen


class Here:
    """Watches this machine during the block: files below `folders` that others may read, and arguments of processes."""

    def __init__(self, folders: list[Path], password: str) -> None:
        self.found: set[str] = set()
        self.rounds = 0
        self._folders, self._password = folders, password
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Here:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _watch(self) -> None:
        private = [text.encode() for text in (*PRIVATE, *IN_BASE64, self._password)]
        while not self._enough.is_set():
            for path in (path for folder in self._folders for path in folder.rglob("*")):
                with contextlib.suppress(OSError):  # it was removed meanwhile
                    if path.is_file() and path.stat().st_mode & 0o077 and any(text in path.read_bytes() for text in private):
                        self.found.add(str(path))
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    if self._password.encode() in path.read_bytes():
                        self.found.add(str(path))
            self.rounds += 1


def sudo_hosts(password_file: Path) -> str:
    return f"""hosts:
  - {{name: m1, address: 10.90.0.11, roles: [master], ssh: {{user: ops}}}}
  - name: w1
    address: 10.90.0.21
    roles: [worker]
    ssh: {{user: admin, sudo_password_file: {password_file}}}
"""


@pytest.fixture(scope="module")
def sudo_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two fresh hosts, one with a sudo user without a password, one with a password."""
    folder = tmp_path_factory.mktemp("sudo")
    with fresh("inv-sudo", folder, sudo_hosts(HOME / "inv-sudo" / "sudo-password")) as found:
        yield found


def password_of(cluster: Cluster) -> str:
    return cluster.lab.sudo_password.read_text().strip()


def test_a_wrong_sudo_password_is_refused_and_nothing_is_written(sudo_cluster: Cluster, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not-the-password\n")
    wrong.chmod(0o600)
    inventory = write_inventory(tmp_path / "inventory", sudo_cluster.lab_name, sudo_hosts(wrong))
    before = {host: sudo_cluster.ssh(host, EVERYTHING).stdout for host in ("m1", "w1")}
    done = kubewright("apply", "-i", str(inventory), check=False)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "w1: sudo refused" in said and "sudo_password_file" in said
    assert "Traceback" not in said and "not-the-password" not in said and "m1:" not in said
    assert {host: sudo_cluster.ssh(host, EVERYTHING).stdout for host in ("m1", "w1")} == before
    assert not (inventory / "secrets" / "keys.json").exists()


@dataclass(frozen=True, kw_only=True)
class Applied:
    """The output of every verb that reads keys or changes hosts, and the findings meanwhile, on hosts and on this machine."""

    said: str
    seen: dict[str, list[str]]
    here: set[str]
    plan: Path


@pytest.fixture(scope="module")
def applied(sudo_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Applied:
    temporary, plan = tmp_path_factory.mktemp("temporary"), tmp_path_factory.mktemp("plan") / "saved"
    password = password_of(sudo_cluster)
    watchers = {host: Watcher(sudo_cluster, host, [password, *PRIVATE]) for host in ("m1", "w1")}
    inventory = str(sudo_cluster.inventory)
    with pytest.MonkeyPatch.context() as patch, Here([sudo_cluster.inventory, temporary, plan.parent], password) as here:
        patch.setenv("TMPDIR", str(temporary))
        done = [
            sudo_cluster.kubewright("plan", check=False),
            sudo_cluster.kubewright("plan", "--json", "-o", str(plan), check=False),
            sudo_cluster.kubewright("apply"),
            verified(sudo_cluster),
            sudo_cluster.kubewright("verify"),
            kubewright("encryption", "rotate", "-i", inventory),
            kubewright("encryption", "status", "-i", inventory, "--json"),
            sudo_cluster.kubewright("history", "--json"),
            sudo_cluster.kubewright("plan", "--json"),
            sudo_cluster.kubewright("apply"),
        ]
    assert changed_nothing(done[-1], 2)
    assert here.rounds > 50
    seen = {host: watcher.found() for host, watcher in watchers.items()}
    return Applied(said="".join(d.stdout + d.stderr for d in done), seen=seen, here=here.found, plan=plan)


def test_no_process_and_no_readable_file_ever_shows_a_password_or_a_key(applied: Applied) -> None:
    assert applied.seen == {"m1": [], "w1": []}
    assert applied.here == set()


def key_bodies(inventory: Path) -> list[str]:
    """A unique piece of everything in the private store: from a PEM and its base64, and from an encryption key."""
    private = json.loads((inventory / "secrets" / "keys.json").read_text()).values()
    pems = [text for text in private if "PRIVATE KEY" in text]
    in_base64 = [base64.b64encode(pem.encode()).decode()[80:140] for pem in pems]
    keys = encryption.keys(Store(inventory)).values()
    assert len(pems) + 1 == len(private) and len(keys) == 1
    return [*(pem.splitlines()[1] for pem in pems), *in_base64, *keys]


def test_no_secret_is_printed_logged_saved_or_journalled_on_this_machine(sudo_cluster: Cluster, applied: Applied) -> None:
    secrets = [*key_bodies(sudo_cluster.inventory), password_of(sudo_cluster), *PRIVATE]
    assert len(secrets) > 40
    written = [p for folder in ("logs", "journal") for p in (sudo_cluster.inventory / folder).iterdir()]
    assert {p.parent.name for p in written} == {"logs", "journal"}
    texts = [applied.said, applied.plan.read_text(), *(p.read_text() for p in written)]
    assert not [secret for secret in secrets for text in texts if secret in text]
    readable = [p for p in sudo_cluster.inventory.rglob("*") if p.is_file() and stat.S_IMODE(p.stat().st_mode) & 0o077]
    assert not [p for p in readable for secret in secrets if secret in p.read_text(errors="replace")]


@pytest.mark.usefixtures("applied")
@pytest.mark.parametrize("host", ["m1", "w1"])
def test_no_secret_is_in_a_file_that_others_can_read_on_a_host(sudo_cluster: Cluster, host: str) -> None:
    secrets = [*key_bodies(sudo_cluster.inventory), password_of(sudo_cluster)]
    script = """umask 077; cat > /dev/shm/secrets; cd /
{ find /var/log /tmp /run /var/tmp -xdev -type f ! -path '/run/watched' -print0 2>/dev/null
  find / -xdev -type f -perm /077 -size -2048k -print0; } | xargs -0 grep -lasF -f /dev/shm/secrets
journalctl -q --no-pager | grep -cF -f /dev/shm/secrets
find / -xdev -type f -name '*.key' -path '*/pki/*' | wc -l
find / -xdev -type f -size -64k -perm 600 -print0 | xargs -0 grep -lasF -f /dev/shm/secrets | wc -l"""
    *found, journal, keys, holding = sudo_cluster.ssh(host, script, stdin="\n".join([*secrets, ""]), check=False).stdout.split()
    assert found == [] and journal == "0"
    assert int(holding) >= int(keys) > 0, "the search did not even find the keys where they belong"


@pytest.mark.usefixtures("applied")
def test_only_the_owner_can_read_the_store_and_git_ignores_it(sudo_cluster: Cluster) -> None:
    folder = sudo_cluster.inventory / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir() if p.name not in (".lock", ".gitignore")} == {0o600}
    assert stat.S_IMODE((sudo_cluster.inventory / "admin.kubeconfig").stat().st_mode) == 0o600
    for path in ("secrets/keys.json", "logs/apply.log", "admin.kubeconfig"):
        run("git", "-C", str(REPOSITORY), "check-ignore", "-q", f"inventories/lab/{path}")
