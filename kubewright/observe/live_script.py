"""The part of the observing command that asks about the cluster: on masters the API, on etcd hosts etcd, and files.

POSIX sh. Every request has a limit of a few seconds; a failed one leaves its section without an end.
"""

from __future__ import annotations

from kubewright.model.cluster import ETCD_CLIENT_PORT
from kubewright.model.etcd_rights import FLANNEL_PREFIX
from kubewright.model.lineage import PATH
from kubewright.observe import facts

FLAGS = (
    "advertise-address|cluster-cidr|hostname-override|initial-cluster-token|name|node-ip|secure-port|service-account-issuer"
    "|service-cluster-ip-range"
)
"""The flags of units that show the settings a cluster was made with, as an extended regular expression."""
_UNITS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubelet")
_FIELDS = (
    "{{.metadata.name}}",
    "{{.status.nodeInfo.machineID}}",
    "{{.status.nodeInfo.kubeletVersion}}",
    '{{range .status.conditions}}{{if eq .type "Ready"}}{{.status}}{{end}}{{end}}',
    "{{with .spec.unschedulable}}{{.}}{{end}}",
    '{{range .status.addresses}}{{if eq .type "InternalIP"}}{{.address}}{{end}}{{end}}',
    facts.HELD,
    *facts.NODE,
)
_NODES = "{{range .items}}" + '{{"\\t"}}'.join(_FIELDS) + '{{"\\n"}}{{end}}'
_ASKED = (
    "/api/v1/namespaces/kube-system",
    "/apis/networking.k8s.io/v1/servicecidrs/kubernetes",
    "/api/v1/namespaces/kube-system/services/kube-dns",
    "/.well-known/openid-configuration",
)
_ADMIN = "/etc/kubernetes/pki/admin"
_ROOT = "/etc/etcd/pki/root"


def sections() -> str:
    """Shell that prints the sections nodes, api, members, configured and lineage; `s NAME` begins one."""
    asked = " ".join(f'"$a{path}"' for path in _ASKED)
    units = " ".join(_UNITS)
    return f"""
s nodes; k=/etc/kubernetes/admin.conf a=
if [ -f $k ]; then
  a=$(sed -n 's/^ *server: *"\\{{0,1\\}}\\([^"]*\\).*/\\1/p' $k)
  kubectl --kubeconfig=$k get nodes --request-timeout=3s -o go-template='{_NODES}' 2>/dev/null && echo .
fi
s api
[ -z "$a" ] || curl -q -sS --noproxy '*' -m 5 --cacert /etc/kubernetes/pki/ca.crt --cert {_ADMIN}.crt --key {_ADMIN}.key \\
  -w '\\n' {asked} 2>/dev/null
s members
if [ -f {_ROOT}.key ]; then
  e="etcdctl --endpoints=https://127.0.0.1:{ETCD_CLIENT_PORT} --cacert=/etc/etcd/pki/ca.crt --cert={_ROOT}.crt --key={_ROOT}.key"
  e="$e --dial-timeout=2s --command-timeout=3s -w json"
  $e member list 2>/dev/null && $e alarm list 2>/dev/null && $e get {FLANNEL_PREFIX}/config 2>/dev/null &&
    $e get --prefix {FLANNEL_PREFIX}/subnets/ 2>/dev/null
fi
s configured
for u in {units}; do
  sed -nE "s/^ *[\\"']?--({FLAGS})=([^\\"' ]*).*/$u \\\\1=\\\\2/p" /etc/systemd/system/$u.service 2>/dev/null
done
sed -nE "/^clusterDNS:/{{n;s/^- *[\\"']?([^\\"']*).*/kubelet clusterDNS=\\\\1/p}}
  s/^clusterDomain: *[\\"']?([^\\"']*).*/kubelet clusterDomain=\\\\1/p" /etc/kubernetes/kubelet.yaml 2>/dev/null
sed -n 's/^FLANNEL_SUBNET=/flannel &/p' /run/flannel/subnet.env 2>/dev/null
sed -n 's/^ETCD_INITIAL_CLUSTER_TOKEN=/etcd initial-cluster-token=/p' /etc/etcd/bootstrap.env 2>/dev/null
s lineage; cat {PATH} 2>/dev/null
"""
