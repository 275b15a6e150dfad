"""The shell that applies CoreDNS and ends when it serves. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from kubewright.model.cluster import Plan
from kubewright.observe.objects import APPLIED
from kubewright.plan.cluster_tasks import KUBECTL_APPLY
from roles.coredns.dns import ask
from roles.coredns.size import replicas

BEGUN = "begun"
"""The sum of objects whose pods don't serve yet: their task is still due."""
PROBE = "coredns-probe"
"""A pod that is not behind the DNS Service."""
_TRIES, _PROBE_SECONDS = 12, 60
_OURS = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf -n kube-system"
# A recreated service account is another one: running pods still have tokens of the old one.
_BEGIN = f"""case $({_OURS} get deployment/coredns serviceaccount/coredns --ignore-not-found -o name) in
  deployment.apps/coredns) restart=1 ;;
  *) restart= ;;
esac
# The sum comes last, so that what failed or was interrupted is done again.
sed 's|"{APPLIED}": "[0-9a-f]*"|"{APPLIED}": "{BEGUN}"|' "$new" > "$here/begun"
"""
# The scheduler honours the anti-affinity of running pods too, terminating ones included.
_MAKE_ROOM = f"""# Pods of older versions admit no second one on their only host. The old one ends first: once, for seconds.
exclusive=$({_OURS} get pods -l k8s-app=kube-dns -o jsonpath='{{.items[*].spec.affinity.podAntiAffinity}}')
if [ -n "$exclusive" ]; then
  sed -i 's/"maxSurge": 1/"maxSurge": 0/; s/"maxUnavailable": 0/"maxUnavailable": 1/' "$here/begun"
fi
"""
_ROLL = f"""{KUBECTL_APPLY.replace("$new", "$here/begun")}
[ -z "$restart" ] || {_OURS} rollout restart deployment/coredns >/dev/null
"""
_ROWS = (
    '{range .items[*]}{.metadata.name} {.status.podIP} {.status.conditions[?(@.type=="Ready")].status} '
    '{.metadata.deletionTimestamp}{"\\n"}{end}'
)
_CONFIG = "{.spec.template.spec.volumes[*].configMap.name}"
_BEFORE, _AFTER = "the old pods still serve", "it has no names of the cluster"


def shell(plan: Plan, objects: Iterable[dict[str, Any]]) -> str:
    """The shell, with `$new` the staged manifest of `objects` and `$here` a folder."""
    wanted = replicas(plan)
    # They roll one after the other.
    served = f"{_OURS} rollout status deployment/coredns --timeout={60 * max(2, wanted)}s >/dev/null\n"
    parts = [_BEGIN, _MAKE_ROOM if wanted == 1 else "", _ROLL, served, KUBECTL_APPLY]
    if plan.has_skydns:
        parts[1:1] = [_reads(plan), _probed(objects)]
        parts[-1:-1] = [f"reads k8s-app=kube-dns '{_AFTER}'\n"]
    return "".join(parts)


def _reads(plan: Plan) -> str:
    """A function: whether all ready pods with the label $1 answer from etcd. The plugin `etcd` has no readiness."""
    name = f"kubernetes.default.svc.{plan.domain}"
    question = ask(['"$ip"'], (name,) * _TRIES)
    return f"""reads() {{
  pods=$({_OURS} get pods -l "$1" -o jsonpath='{_ROWS}') || return
  deaf=
  while read -r pod ip ready gone; do
    [ "$ready" = True ] && [ -z "$gone" ] || continue
    said=$({question})
    # The half byte of the error is 0, the number of answers is not: see roles/coredns/dns.py.
    if ! echo "$said" | tail -n 1 | grep -Eq '^[^ ]+ .{{7}}0.{{4}}0{{0,3}}[1-9a-f]'; then
      deaf=1
      echo "CoreDNS pod $pod ($ip) does not read etcd: it does not answer for {name}; $2. \
Open TCP 2379 of the etcd hosts to all hosts and to network.pods ({plan.pods}), then apply again. Its last errors:" >&2
      {_OURS} logs "$pod" --tail=20 | grep ERROR | tail -n 3 >&2 || true
    fi
  done <<PODS
$pods
PODS
  [ -z "$deaf" ]
}}
"""


def _probed(objects: Iterable[dict[str, Any]]) -> str:
    """Shell that tries a pod of the new kind first, where the pods of the other provider serve."""
    found = {(one["kind"], one["metadata"]["name"]): one for one in objects}
    config = found["ConfigMap", "coredns-skydns"]
    marked = {**config["metadata"], "annotations": {APPLIED: BEGUN}}
    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": [{**config, "metadata": marked}, _probe(found)]})
    remove = f"{_OURS} delete pod {PROBE} --ignore-not-found"
    reads = f"{_OURS} get deployment/coredns --ignore-not-found -o jsonpath='{_CONFIG}'"
    return f"""config=$({reads})
case $config in
  coredns)
    {remove} >/dev/null
    cat > "$here/probe" <<'PROBE'
{content}
PROBE
    trap '{remove} --wait=false >/dev/null' EXIT
    {KUBECTL_APPLY.replace("$new", "$here/probe")}
    if ! {_OURS} wait --for=condition=Ready pod/{PROBE} --timeout={_PROBE_SECONDS}s >/dev/null; then
      echo "CoreDNS does not start with dns_provider skydns; {_BEFORE}. Its pod and its log:" >&2
      {_OURS} get pod {PROBE} -o wide >&2 || true
      {_OURS} logs {PROBE} --tail=5 >&2 || true
      exit 1
    fi
    reads k8s-app={PROBE} '{_BEFORE}'
    trap - EXIT
    {remove} --wait=false >/dev/null ;;
esac
"""


def _probe(found: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    """A pod as the Deployment makes them, under another label."""
    spec = dict(found["Deployment", "coredns"]["spec"]["template"]["spec"])
    del spec["topologySpreadConstraints"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": PROBE, "namespace": "kube-system", "labels": {"k8s-app": PROBE}},
        "spec": {**spec, "restartPolicy": "Never", "terminationGracePeriodSeconds": 1},
    }
