"""Checks of DNS: from every host that runs pods, and of each CoreDNS pod."""

from __future__ import annotations

from typing import Any

from kubewright.model.cluster import Node, Plan
from kubewright.plan.role import Check, on_kubelets
from roles.coredns.dns import Reply, ask, replies
from roles.coredns.news import ADDRESS, KUBECTL, NEWS, News
from roles.coredns.size import replicas

_SILENT = Reply(why="no answer")
_PODS = "kubewright kubectl -i INVENTORY -- -n kube-system"


def _ready(host: Any, plan: Plan, node: Node) -> None:
    if node != plan.first_master:
        return
    answer = host.run(f"{KUBECTL} get deployment coredns -o jsonpath='{{.status.readyReplicas}}'")
    ready, wanted = answer.stdout.strip("'") or "0", replicas(plan)
    todo = f"{_PODS} describe pods -l k8s-app=kube-dns"
    # More where a host that does not answer runs one.
    assert int(ready) >= wanted, f"{ready} of {wanted} replicas are ready {answer.stderr}".strip() + f"; see why: {todo}"


def _resolves(host: Any, plan: Plan, _node: Node) -> None:
    name = f"kubernetes.default.svc.{plan.domain}"
    reply = _asked(host, [str(plan.dns_address)], (name,) * 3)[str(plan.dns_address)]
    addresses = [str(a) for a in reply.addresses]
    assert addresses == [str(plan.api_service_address)], (
        f"{name} gives {', '.join(addresses) or reply.why}, not {plan.api_service_address}, at the DNS Service "
        f"({plan.dns_address}:53/udp); {_todo(plan, reply)}"
    )


def _todo(plan: Plan, reply: Reply) -> str:
    if reply.why == "no answer":
        return "look at this host's kube-proxy and flannel checks, then at the CoreDNS pods: " + f"{_PODS} get pods -o wide"
    if plan.has_skydns:
        logs = f"kube2sky writes no names, or CoreDNS does not read etcd: journalctl -u kube2sky on masters, {_PODS} logs"
    else:
        logs = f"CoreDNS does not read the API: {_PODS} logs"
    return f"{logs} -l k8s-app=kube-dns"


def _news(host: Any, plan: Plan, _node: Node, news: News) -> None:
    reply = _asked(host, [str(plan.dns_address)], news.names)[str(plan.dns_address)]
    assert _is_known(reply), (
        f"the DNS Service ({plan.dns_address}:53/udp) does not know a Service made a moment ago ({reply.why}); "
        f"{_todo(plan, reply)}, then {_PODS} rollout restart deployment/coredns"
    )


def _each_pod(host: Any, plan: Plan, _node: Node, news: News) -> None:
    assert news.pods, f"no CoreDNS pod is ready behind the DNS Service; see why: {_PODS} describe pods -l k8s-app=kube-dns"
    said = _asked(host, list(news.pods), news.names)
    deaf = [f"{news.pods[pod]} ({pod}): {reply.why}" for pod, reply in said.items() if not _is_known(reply)]
    assert not deaf, (
        f"these CoreDNS pods do not know a Service made a moment ago, so their {_source(plan)} is broken or they are not "
        f"reached: {'; '.join(deaf)}; see their logs, then delete them: {_PODS} delete pod NAME"
    )


def _source(plan: Plan) -> str:
    return "connection to etcd" if plan.has_skydns else "watch of the API"


def _is_known(reply: Reply) -> bool:
    return [str(address) for address in reply.addresses] == [ADDRESS]


def _asked(host: Any, servers: list[str], names: tuple[str, ...]) -> dict[str, Reply]:
    said = replies(host.run(ask(servers, names)).stdout)
    return {server: said.get(server, _SILENT) for server in servers}


CHECKS = (
    Check(title="all its replicas are ready", run=_ready),
    Check(title="the DNS Service resolves the API's name", run=_resolves, on=on_kubelets),
    Check(title="the DNS Service knows a Service made a moment ago", run=_news, on=on_kubelets, needs=NEWS),
    Check(title="every CoreDNS pod knows a Service made a moment ago", run=_each_pod, needs=NEWS),
)
