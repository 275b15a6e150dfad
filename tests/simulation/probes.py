"""The probes, gates and other small scripts of the roles, answered from the fleet. An unknown line is an error."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Callable

from tests.simulation.evidence import ETCD_SCRIPT, removals
from tests.simulation.fleet import APISERVER, ETCD, KUBELET, POD_ROUTES, Fleet


class Unknown(AssertionError):
    """Shell that the simulation does not know. Add it, so that the simulation stays like real hosts."""


_CURL = re.compile(
    r"curl (?:-q )?(?:-f?sS )?(?:--noproxy '\*' )?(?:-f?sS )?-m 5 (?P<options>.*?)'?(?P<scheme>https?)://(?P<address>[\d.]+):(?P<port>\d+)"
    r"/(?P<path>\w+)(?P<query>\?(?:serializable=true&)?exclude=NOSPACE)?'?(?P<rest>.*)"
)
_LOOPBACK = {
    "10257": ("kube-controller-manager.service", "healthz"),
    "10259": ("kube-scheduler.service", "healthz"),
    "10248": ("kubelet.service", "healthz"),
    "10256": ("kube-proxy.service", "livez"),
    "10253": ("kube2sky.service", "readyz"),
}
_GREP = ' | grep -q \'"health":"true"\''
_COUNT = re.compile(r'if (?P<probe>.*); then healthy=\$\(\(healthy\+1\)\); else ill="\$ill \w+"; fi')
_QUORUM = re.compile(r'\[ \$healthy -ge (?P<least>\d+) \] \|\| \{ echo ".*"; exit 1; \}')
_UNLESS_LOST = re.compile(r"(?P<probe>curl .*) >/dev/null; case \$\? in (?P<codes>[\d|]+)\) exit 0 ;; esac")
_OR_EXIT = re.compile(r"(?P<probe>.*?) >/dev/null \|\| \{ echo '.*'; exit 1; \}")


def _files(fleet: Fleet, host: str, options: str) -> bool:
    """Whether curl's certificates exist."""
    words = shlex.split(options)
    paths = [value for option, value in itertools.pairwise(words) if option in ("--cacert", "--cert", "--key")]
    return all(path in fleet.machines[host].contents for path in paths)


def probe(fleet: Fleet, host: str, command: str) -> bool:
    """One query command."""
    command = command.removesuffix(" >/dev/null")
    if command == "/usr/local/bin/ctr version":
        return fleet.up(host, "containerd.service")
    if command == "[ -s /run/flannel/subnet.env ]":
        return fleet.ready(host, "flanneld.service")
    if command == f"systemctl is-active -q {POD_ROUTES}":
        return fleet.up(host, POD_ROUTES)
    found = _CURL.fullmatch(command)
    if found is None:
        raise Unknown(f"a probe: {command}")
    if not _files(fleet, host, found["options"]):
        return False
    local = found["address"] == "127.0.0.1"
    asked = host if local else fleet.at(found["address"])
    if found["port"] == "2379" and found["path"] == "health" and found["rest"] in ("", _GREP):
        return (
            fleet.follows(asked)
            if "serializable" in (found["query"] or "") or fleet.roster.get(asked) is False
            else fleet.healthy(asked)
        )
    if found["port"] == str(fleet.plan.api_port) and found["path"] == "readyz":
        return fleet.api_answers(host) if local else fleet.api_ready(asked)
    unit, path = _LOOPBACK.get(found["port"], ("", ""))
    if not local or found["path"] != path:
        raise Unknown(f"a probe: {command}")
    return fleet.ready(host, unit)


def _code(fleet: Fleet, host: str, command: str) -> str:
    """curl's exit code for a failed request of an instance's own gate."""
    found = _CURL.fullmatch(command)
    assert found is not None, "it was asked before"
    if not _files(fleet, host, found["options"]):
        return "58"
    unit = {"health": ETCD, "readyz": APISERVER}[found["path"]]
    if not fleet.up(host, unit):
        return "7"
    return "28" if unit == ETCD and host in fleet.sick else "22"


def asks(fleet: Fleet, host: str, script: str) -> bool:
    """A whole gate or readiness script: its exit status."""
    if f"/api/v1/nodes/{host} | " in script and "ExecMainStartTimestamp" in script:
        _, ask = re.split(r"\|\| exit 1\n(?=curl)", script)
        return _files(fleet, host, ask.partition("https://")[0]) and fleet.ready(host, KUBELET)
    healthy, verdict = 0, True
    for line in script.strip().splitlines():
        if line == "healthy=0 ill=":
            healthy = 0
        elif found := _UNLESS_LOST.fullmatch(line):
            if not probe(fleet, host, found["probe"]) and _code(fleet, host, found["probe"]) in found["codes"].split("|"):
                return True
        elif found := _COUNT.fullmatch(line):
            healthy += probe(fleet, host, found["probe"])
        elif found := _QUORUM.fullmatch(line):
            if healthy < int(found["least"]):
                return False
        elif found := _OR_EXIT.fullmatch(line):
            if not probe(fleet, host, found["probe"]):
                return False
        else:
            verdict = probe(fleet, host, line)
    return verdict


_OTHERS = re.compile(r"^  for other in (?P<others>.*); do\n    if curl .*/health\?exclude=NOSPACE\" ", re.MULTILINE)


def transfer(fleet: Fleet, host: str, script: str) -> bool:
    """etcd's `before_stop`: it fails when this member leads and none of the others can."""
    found = _OTHERS.search(script)
    if found is None or 'move-leader "$id"' not in script:
        raise Unknown(f"what is done before a stop: {script}")
    if not fleet.up(host, ETCD) or host in fleet.sick or fleet.leads() != host:
        return True
    others = [fleet.at(other.partition("=")[2]) for other in found["others"].split()]
    healthy = [name for name in others if fleet.healthy(name)]
    fleet.leader = next(iter(healthy), host)
    return bool(healthy)


_REMOVE = re.compile(r"rm -f (?P<path>\S+)")
_DISABLE = re.compile(r"systemctl disable -q --now (?P<unit>\S+) 2>/dev/null \|\| true")
_IMPORT = re.compile(
    r"# Imports .*\n#.*\nctr='/usr/local/bin/ctr -n k8s.io images' .*\nid\(\) .*\n\$ctr import (?P<path>\S+) >/dev/null\n"
    r"\$ctr label \S+ io.cri-containerd.pinned=pinned \S+ >/dev/null\n(?s:.*)done\n"
)


def applied(fleet: Fleet, host: str, script: str, run: int) -> bool:
    """The effect of a late file's `apply`: its exit status."""
    machine = fleet.machines[host]
    if script == 'sysctl -q -p "$new"' or script.startswith("while read -r m; do modprobe"):
        return True
    if "firewall-cmd -q --check-config" in script:
        return True
    if found := _IMPORT.fullmatch(script):
        machine.imported.add(found["path"])
        return fleet.up(host, "containerd.service") and found["path"] in machine.manifest
    if not script.endswith("systemctl daemon-reload\n"):
        raise Unknown(f"an apply: {script}")
    for line in script.splitlines()[:-1]:
        if found := _DISABLE.fullmatch(line):
            service = machine.service(found["unit"])
            service.running = service.crashed = service.enabled = False
            fleet.happened("remove", run, host, text=found["unit"])
            fleet.connected()
        elif found := _REMOVE.fullmatch(line):
            machine.remove(found["path"])
            fleet.removed(host, found["path"])
        else:
            raise Unknown(f"a line of a removal: {line}")
    machine.reload()
    return True


def done(fleet: Fleet, host: str, script: str, content: str, tick: Callable[[], None]) -> bool:
    """A task: its exit status, and what it leaves in the cluster. A removal can end between two objects."""
    machine, evidence = fleet.machines[host], fleet.evidence
    leave: Callable[[str], None]
    kubectl = machine.executable("/usr/local/bin/kubectl") and fleet.api_answers(host) and evidence.administered
    if script == 'sh -eu "$new" >/dev/null' and content.startswith(("# Adds", "# Removes", "# Gives")):
        tick()
        return fleet.healthy(host) and machine.executable("/usr/local/bin/etcdctl") and fleet.change_members(content)
    if " delete node --ignore-not-found " in script:
        if kubectl:
            fleet.delete_nodes(content.split())
        return kubectl
    if script == 'sh -eu "$new" >/dev/null' and content.startswith(ETCD_SCRIPT):
        able, leave = fleet.healthy(host) and machine.executable("/usr/local/bin/etcdctl"), evidence.set_etcd
    elif script.startswith("curl -fsS -m 30 ") and "X-Remote-Group: system:masters" in script:
        able, leave = _files(fleet, host, script.split(" -H ")[0]) and fleet.api_answers(host), evidence.set_objects
    elif "/usr/local/bin/kubectl" in script and " apply --server-side " in script:
        able, leave = kubectl, evidence.set_objects
    elif "does not register" in script:
        registered = all(fleet.up(name, KUBELET) for name in re.findall(r"^node (\S+)", content, re.MULTILINE))
        able, leave = kubectl and registered, evidence.set_nodes
    elif 'curl -q -K "$new" > "$here/answers"\nif failed=' in script:
        able = fleet.api_answers(host) and evidence.administered

        def leave(requests: str) -> None:
            for path, uid in removals(requests):
                tick()
                fleet.pruned(host, path, uid)

    else:
        raise Unknown(f"a task: {script}")
    if able:
        leave(content)
        fleet.happened("task", 0, host, text=content)
    return able
