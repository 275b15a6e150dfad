"""Names outside Kubernetes in the cluster's DNS: `kubewright dns`. docs/dns.md says what they can be."""
