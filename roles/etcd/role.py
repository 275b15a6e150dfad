"""etcd: one member per host, with mutual TLS to clients and between peers."""

from __future__ import annotations

from kubewright.model.cluster import ETCD_CLIENT_PORT, ETCD_PEER_PORT, Node, Plan
from kubewright.model.lineage import cluster_of
from kubewright.observe.observed import ETCD_MARK
from kubewright.plan.context import Context, render
from kubewright.plan.desired import Desired, File, Transfer, Unit
from kubewright.plan.role import Client, Folder, Port, Role, Tls, on_etcd
from pki.authorities import ETCD
from roles.common.gate import unless_lost
from roles.etcd.checks import CHECKS
from roles.etcd.data_checks import DATA_CHECKS
from roles.etcd.flags import bootstrap, flags

UNIT = "etcd.service"
HOLD = "etcd-hold"
DATA = "/var/lib/etcd"
BOOTSTRAP, BEFORE_START = "/etc/etcd/bootstrap.env", "/etc/etcd/before-start.sh"
JOINS = "/etc/etcd/joins"
"""Exists while this host is an added member that has not started: etcd joins with an empty data folder, and starts no new
cluster."""
ENVIRONMENT = "/run/etcd-state.env"
_CURL = (
    "curl -q -fsS --noproxy '*' -m 5 --cacert /etc/etcd/pki/ca.crt --cert /etc/etcd/pki/{cert}.crt --key /etc/etcd/pki/{cert}.key"
)

CLIENTS = Tls(
    row="etcd-server",
    authority=ETCD.name,
    # Any name of the authority: etcd's own users decide about rights.
    handshake="authority",
    path="/version",
    guarded=("/version",),
    clients=(
        Client(row="etcd-root", to="own"),
        Client(row="etcd-healthcheck-client"),
        Client(row="etcd-healthcheck-client", to="own"),
        Client(row="apiserver-etcd-client"),
        Client(row="flannel"),
        Client(row="coredns-etcd"),
        Client(row="kube2sky-etcd"),
    ),
)
PEERS = Tls(
    row="etcd-peer",
    authority=ETCD.name,
    handshake="name",
    path="/version",
    guarded=("/version",),
    clients=(Client(row="etcd-peer", to="others"),),
)


def _health(address: object, *, learns: bool = False) -> str:
    """A member with the alarm NOSPACE serves reads and deletes, so it counts [etcd:
    server/etcdserver/api/etcdhttp/health.go]."""
    # A learner that gets gigabytes first answers a linearizable read late: how far it is, its promotion asks (role `votes`).
    asked = "?serializable=true&exclude=NOSPACE" if learns else "?exclude=NOSPACE"
    return f"{_CURL.format(cert='healthcheck-client')} 'https://{address}:{ETCD_CLIENT_PORT}/health{asked}'"


def healthy(address: object, *, learns: bool = False) -> str:
    """Shell that succeeds when that member is healthy; `learns`: when it has a leader and its own data."""
    return f'{_health(address, learns=learns)} | grep -q \'"health":"true"\''


def _gate(plan: Plan, node: Node) -> str:
    """Without this member, the other healthy members are still a quorum. A single member has none to keep."""
    others = [n for n in plan.etcd_members if n.name != node.name]
    probes = [f'if {healthy(n.address)}; then healthy=$((healthy+1)); else ill="$ill {n.name}"; fi' for n in others]
    refusal = f"not healthy:$ill; with {node.name} stopped too, $healthy of {len(plan.etcd_members)} members would be left"
    verdict = f'[ $healthy -ge {plan.quorum} ] || {{ echo "etcd would lose its quorum of {plan.quorum}: {refusal}"; exit 1; }}'
    return "\n".join([unless_lost(_health("127.0.0.1")), "healthy=0 ill=", *probes, verdict]) if others else ""


def _transfer(plan: Plan, node: Node, *, asked: bool) -> str:
    """Shell: if this member leads, transfer leadership to a healthy one before it stops; `asked`: only print which."""
    others = {
        n.name: f"{n.name}={n.address}"
        for n in plan.etcd_members
        if n.name != node.name and n.name not in plan.absent | plan.joining | plan.leaving
    }
    script = render(
        "etcd/transfer.sh.j2",
        port=ETCD_CLIENT_PORT,
        curl=_CURL.format(cert="healthcheck-client"),
        name=node.name,
        names=list(others),
        others=list(others.values()),
        asked=asked,
    )
    return script.decode() if others else ""


def _quiet_transfer(plan: Plan, node: Node) -> Transfer | None:
    """All members drop client traffic meanwhile, so that no write fails [docs/decisions/0006]."""
    if not (choose := _transfer(plan, node, asked=True)):
        return None
    return Transfer(
        choose=choose,
        drop=render("etcd/drop.sh.j2", table=HOLD, port=ETCD_CLIENT_PORT, but="ip daddr != 127.0.0.1").decode(),
        move=render("etcd/move.sh.j2", port=ETCD_CLIENT_PORT).decode(),
        admit=f"nft delete table inet {HOLD} 2>/dev/null || :",
    )


def desired(context: Context) -> Desired:
    plan, node = context.plan, context.node
    restarts = (UNIT,)
    recorded = context.lineage.etcd_token if context.lineage else ""
    token = recorded if cluster_of(recorded) == plan.cluster else ""
    return Desired(
        files=(
            context.authority(ETCD.name, "/etc/etcd/pki/ca.crt", restarts=restarts),
            # etcd rereads its own certificates at each handshake: they need no restart.
            *context.key_pair("etcd-server"),
            *context.key_pair("etcd-peer"),
            *context.key_pair("etcd-healthcheck-client"),
            *context.key_pair("etcd-root"),
            context.config(BOOTSTRAP, "etcd/bootstrap.env.j2", restarts=(), mode=0o600, variables=bootstrap(plan, node, token)),
            context.config(
                BEFORE_START,
                "etcd/before-start.sh.j2",
                restarts=(),
                data=DATA,
                mark=ETCD_MARK,
                joins=JOINS,
                environment=ENVIRONMENT,
            ),
            *((File(path=JOINS, content=b""),) if node.name in context.joining else ()),
            context.unit_file(
                UNIT,
                "etcd/etcd.service.j2",
                flags=context.flags("etcd", flags(plan, node)),
                data=DATA,
                bootstrap=BOOTSTRAP,
                before=BEFORE_START,
                environment=ENVIRONMENT,
                mark=ETCD_MARK,
                joins=JOINS,
            ),
        ),
        links=(context.link("etcd", restarts=restarts), context.link("etcdctl"), context.link("etcdutl")),
        units=(
            Unit(
                name=UNIT,
                gate=_gate(plan, node),
                before_stop=_transfer(plan, node, asked=False),
                transfer=_quiet_transfer(plan, node),
                ready=healthy("127.0.0.1", learns=node.name in context.learning),
            ),
        ),
    )


def ports(_plan: Plan, node: Node) -> tuple[Port, ...]:
    return (
        Port(
            number=ETCD_CLIENT_PORT,
            process="etcd",
            addresses=(str(node.address), "127.0.0.1"),
            clients="everyone",
            tls=CLIENTS,
        ),
        Port(number=ETCD_PEER_PORT, process="etcd", addresses=(str(node.address),), clients="etcd", tls=PEERS),
    )


ROLE = Role(
    name="etcd",
    runs_on=on_etcd,
    after=("binaries",),
    binaries=("etcd", "etcdctl", "etcdutl"),
    units=(UNIT,),
    one_at_a_time=True,
    folders=(Folder(path="/etc/etcd"), Folder(path=DATA, holds="data")),
    desired=desired,
    ports=ports,
    checks=(*CHECKS, *DATA_CHECKS),
)
