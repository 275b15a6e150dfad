"""The model of a cluster: nodes, addresses, ports, certificates, the record. Nothing here knows a host's state."""
