"""TLS parameters of every component, and the client checks of the API's two ports (apiserver, load balancer)."""

from kubewright.plan.role import Client, Tls
from pki.authorities import KUBERNETES

CIPHER_SUITES = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
)
"""For TLS 1.2; 1.3 chooses its own. By Go's names. Those that CIS 1.12 calls strong for apiserver and kubelet
alike (1.2.29, 4.2.12): its list for the kubelet has ChaCha20 under names that Go does not use."""

API = Tls(
    row="apiserver",
    authority=KUBERNETES.name,
    path="/api",
    guarded=("/api/v1/secrets", "/", "/api", "/apis", "/version", "/healthz", "/metrics", "/openapi/v2", "/readyz/etcd"),
    clients=(
        Client(row="admin", to="own"),
        Client(row="controller-manager-client", to="own"),
        Client(row="scheduler-client", to="own"),
        Client(row="kube2sky-client", to="own"),
        Client(row="kubelet-client", to="own"),
        Client(row="kube-proxy", to="own"),
    ),
)
"""The port for a host's own components: at 127.0.0.1, in kubeconfigs."""
