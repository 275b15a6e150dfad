"""The histories: data. Each removal names its source: an upstream pull request or another record.

`FACTS` marks those from upstream's changelogs and policies, without a pull request.
"""

from __future__ import annotations

from kubewright.releases.flag_history import History, Present, Removed, Row

FACTS = "upstream's CHANGELOG of that release"


def _gone(since: str, replacement: str, source: str = FACTS) -> History:
    return (Row(since=since, state=Removed(replacement=replacement, source=source)),)


def _between(first: str, since: str, replacement: str, source: str = FACTS) -> History:
    return (Row(since=first, state=Present()), *_gone(since, replacement, source))


# cadvisor's --housekeeping-interval stays: 1.37 still registers it.
_CADVISOR = (
    "application-metrics-count-limit",
    "boot-id-file",
    "container-hints",
    "containerd",
    "containerd-namespace",
    "enable-load-reader",
    "event-storage-age-limit",
    "event-storage-event-limit",
    "global-housekeeping-interval",
    "log-cadvisor-usage",
    "machine-id-file",
    "storage-driver-buffer-duration",
    "storage-driver-db",
    "storage-driver-host",
    "storage-driver-password",
    "storage-driver-secure",
    "storage-driver-table",
    "storage-driver-user",
)

FLAGS: dict[str, dict[str, History]] = {
    "kube-apiserver": {
        "--admission-control": _gone("1.10", "use --enable-admission-plugins and --disable-admission-plugins"),
        "--etcd-quorum-read": _gone("1.13", "drop it: every read is a quorum read", "kubernetes#69527"),
        "--basic-auth-file": _gone("1.19", "use client certificates or OIDC", "kubernetes#89069"),
        "--kubelet-https": _gone("1.22", "drop it: the kubelet is always reached over TLS", "kubernetes#101178"),
        "--insecure-port": _gone("1.24", "use --secure-port", "kubernetes#95856"),
        "--port": _gone("1.24", "use --secure-port", "kubernetes#95856"),
        "--insecure-bind-address": _gone("1.24", "use --bind-address", "kubernetes#95856"),
        "--address": _gone("1.24", "use --bind-address", "kubernetes#95856"),
        "--enable-admission-plugins=PodSecurityPolicy": _gone("1.25", "use PodSecurity and its namespace labels"),
        "--enable-admission-plugins=SecurityContextDeny": _gone("1.30", "use PodSecurity and its namespace labels"),
        "--service-account-api-audiences": _gone("1.25", "use --api-audiences"),
        "--master-service-namespace": _gone("1.26", "drop it: it had no effect"),
        "--cloud-config": _gone("1.33", "run an external cloud controller manager"),
        "--cloud-provider": _gone("1.33", "run an external cloud controller manager"),
    },
    "kube-controller-manager": {
        "--port": _gone("1.24", "use --secure-port"),
        "--address": _gone("1.24", "use --bind-address"),
        "--experimental-cluster-signing-duration": _between("1.8", "1.25", "use --cluster-signing-duration"),
        "--deleting-pods-qps": _gone("1.25", "drop it: it had no effect"),
        "--deleting-pods-burst": _gone("1.25", "drop it: it had no effect"),
        "--register-retry-count": _gone("1.25", "drop it: it had no effect"),
        "--enable-taint-manager": _gone("1.27", "drop it: taint eviction is always on"),
        "--pod-eviction-timeout": _gone(
            "1.27", "use tolerationSeconds, or the apiserver's --default-not-ready-toleration-seconds"
        ),
        "--volume-host-*": _gone("1.31", "drop it"),
    },
    "kube-scheduler": {
        "--port": _gone("1.24", "use --secure-port"),
        "--address": _gone("1.24", "use --bind-address"),
    },
    "kubelet": {
        "--allow-privileged": _gone("1.15", "drop it: admission decides"),
        "--network-plugin": _gone("1.24", "drop it: the container runtime calls CNI", "kubernetes#97252"),
        "--cni-bin-dir": _gone("1.24", "set bin_dir in containerd's configuration", "kubernetes#97252"),
        "--container-runtime": _gone("1.27", "drop it: only CRI runtimes are left"),
        "--master-service-namespace": _gone("1.27", "drop it: it had no effect"),
        "--keep-terminated-pod-volumes": _gone("1.31", "drop it"),
        "--iptables-masquerade-bit": _gone("1.31", "drop it: the kubelet makes no such chain"),
        "--iptables-drop-bit": _gone("1.31", "drop it: the kubelet makes no such chain"),
        "--cloud-config": _gone("1.34", "run an external cloud controller manager"),
        "--pod-infra-container-image": _gone(
            "1.35", "set the sandbox image in containerd's configuration (pinned_images)", "kubernetes#133779"
        ),
        **{f"--{name}": _gone("1.37", "drop it: cAdvisor's flags are no longer the kubelet's") for name in _CADVISOR},
    },
    "kube-proxy": {
        "--proxy-mode=ipvs": _gone("1.43", "use nftables", "deprecated in 1.35"),
    },
    "etcd": {
        "--enable-v2": _gone("3.6", "drop it, after `etcdutl check v2store` finds the store empty"),
        "--proxy*": _gone("3.6", "use `etcd grpc-proxy`"),
        # 3.6 still accepts these deprecated names: without this row, a look-up at 3.6 would call them removed.
        "--experimental-*": _between("3.0", "3.7", "use the flag without `experimental-`, or --feature-gates"),
    },
}
