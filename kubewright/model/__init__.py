"""What a cluster is made of: nodes, addresses, ports, certificates, the record. It knows no host's state."""
