"""A kubelet serves when the API shows its node as Ready, at this version, without pressure, and since this start."""

from __future__ import annotations

import shlex

from kubewright.model.certificates import ROWS
from kubewright.model.cluster import Node, Plan
from kubewright.plan.desired import Trial
from roles.common.gate import CURL

HEALTH = f"{CURL} http://127.0.0.1:10248/healthz"
TRIAL = 25
"""Seconds. kubelet looks for pressure after its start and then every 10 s, once more if it had no statistics yet, and
reports it in its status at most 10.4 s later [kubernetes: pkg/kubelet/kubelet.go evictionMonitoringPeriod,
pkg/kubelet/eviction/eviction_manager.go Start, nodeStatusUpdateFrequency with its jitter]. Before the first look, its status
says that there is none."""

# An apiserver indents JSON for curl. This joins a condition's fields into one line, in any order.
_LINES = "tr -d ' \\n' | tr '{' '\\n'"
_CONDITIONS = r"""
function field(name) {
  if (!match($0, "\"" name "\":\"[^\"]*\"")) return ""
  return substr($0, RSTART + length(name) + 4, RLENGTH - length(name) - 5)
}
field("kubeletVersion") { runs = field("kubeletVersion") }
field("type") == "Ready" { ready = field("status"); heard = field("lastHeartbeatTime"); why = field("message") }
field("type") ~ /^(Memory|Disk|PID)Pressure$/ && field("status") == "True" { pressure = pressure " " field("type") }
END {
  if (runs == "") { print "the API does not tell about the node " node; exit 1 }
  if (pressure) { print "the node " node " has" pressure " and evicts pods: see its disks and memory, and eviction-hard"; exit 1 }
  if (ready != "True") { print "the node " node " is not Ready (" why ")"; exit 1 }
  if (heard "" < began "") { print "the kubelet of " node " has not reported to the API since it was started"; exit 1 }
  if (runs != version) { print "the node " node " runs " runs ", not " version; exit 1 }
}"""


def ready(plan: Plan, node: Node) -> str:
    """Asked with the kubelet's own certificate, which may read its own node and no other [kubernetes:
    plugin/pkg/auth/authorizer/node/node_authorizer.go authorizeNode]."""
    pair = ROWS["kubelet-client"].path
    ask = (
        f"{CURL} --cacert /etc/kubernetes/pki/ca.crt --cert {pair}.crt --key {pair}.key {plan.local_api}/api/v1/nodes/{node.name}"
    )
    return f"""{HEALTH} >/dev/null || exit 1
began=$(TZ=UTC0 systemctl show -p ExecMainStartTimestamp --value kubelet.service)
began=$(date -u -d "$began" +%Y-%m-%dT%H:%M:%SZ) || exit 1
{ask} | {_LINES} | awk -v node={node.name} -v version=v{node.release.kubernetes} -v began="$began" {shlex.quote(_CONDITIONS)} >&2
"""


def trial(*paths: str) -> Trial:
    """`paths`: what may make a kubelet see pressure where none was; its certificates can't."""
    return Trial(seconds=TRIAL, causes=paths)
