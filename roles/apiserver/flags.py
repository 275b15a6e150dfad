"""kube-apiserver's flags."""

from __future__ import annotations

from kubewright.model.cluster import Flags, Node, Plan
from kubewright.plan.tls import CIPHER_SUITES
from pki import encryption

_PKI = "/etc/kubernetes/pki"
AUTHENTICATION = "/etc/kubernetes/apiserver/authentication.yaml"
AUDIT_POLICY = "/etc/kubernetes/apiserver/audit.yaml"
AUDIT_LOGS = "/var/log/kubernetes/audit"


def flags(plan: Plan, node: Node) -> Flags:
    # A master with an etcd member lists that one first.
    members = sorted(plan.serving_members, key=lambda n: n.name != node.name)
    return {
        "advertise-address": str(node.address),
        "allow-privileged": "true",
        # CIS 1.2.16-1.2.19: megabytes a file, files, days.
        "audit-log-maxage": "30",
        "audit-log-maxbackup": "10",
        "audit-log-maxsize": "100",
        "audit-log-path": f"{AUDIT_LOGS}/audit.log",
        "audit-policy-file": AUDIT_POLICY,
        "authentication-config": AUTHENTICATION,
        "authorization-mode": "Node,RBAC",
        "client-ca-file": f"{_PKI}/ca.crt",
        # Denied by default: externalIPs can take other services' traffic (CVE-2020-8554).
        "enable-admission-plugins": "NodeRestriction" if plan.external_ips else "DenyServiceExternalIPs,NodeRestriction",
        "encryption-provider-config": encryption.PATH,
        "etcd-cafile": f"{_PKI}/etcd-ca.crt",
        "etcd-certfile": f"{_PKI}/apiserver-etcd-client.crt",
        "etcd-keyfile": f"{_PKI}/apiserver-etcd-client.key",
        "etcd-servers": ",".join(f"https://{n.address}:2379" for n in members),
        # Closes a few connections with GOAWAY, so that load evens out after a master returns.
        "goaway-chance": "0.001" if len(plan.serving_masters) > 1 else None,
        "kubelet-certificate-authority": f"{_PKI}/ca.crt",
        "kubelet-client-certificate": f"{_PKI}/apiserver-kubelet-client.crt",
        "kubelet-client-key": f"{_PKI}/apiserver-kubelet-client.key",
        "kubelet-preferred-address-types": "InternalIP,Hostname",
        "profiling": "false",
        "proxy-client-cert-file": f"{_PKI}/front-proxy-client.crt",
        "proxy-client-key-file": f"{_PKI}/front-proxy-client.key",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-client-ca-file": f"{_PKI}/front-proxy-ca.crt",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "secure-port": str(plan.api_port),
        "service-account-extend-token-expiration": "false",
        "service-account-issuer": f"https://kubernetes.default.svc.{plan.domain}",
        "service-account-key-file": f"{_PKI}/sa.pub",
        "service-account-signing-key-file": f"{_PKI}/sa.key",
        "service-cluster-ip-range": str(plan.services),
        "service-node-port-range": plan.node_ports,
        # Longer than the load balancers take to notice (1 s between probes, two in a row): no request meets a closed port.
        "shutdown-delay-duration": "5s" if len(plan.serving_masters) > 1 else None,
        # End watches too, or the shutdown would wait --request-timeout (60 s) for them. Not
        # --shutdown-send-retry-after: it answers 429 on open connections. Without it, clients are told to go
        # elsewhere (GOAWAY), and their requests are answered [k8s.io/apiserver pkg/server/genericapiserver.go].
        "shutdown-watch-termination-grace-period": "10s",
        "tls-cert-file": f"{_PKI}/apiserver.crt",
        "tls-cipher-suites": ",".join(CIPHER_SUITES),
        "tls-min-version": "VersionTLS12",
        "tls-private-key-file": f"{_PKI}/apiserver.key",
    }
