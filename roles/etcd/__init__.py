"""The role etcd: see role.py."""
