"""The role coredns_certificates: see role.py."""
