"""Authorities, the certificate table, the store. Knows X.509; knows nothing of hosts, roles or pyinfra."""
