"""The role coredns: see role.py."""
