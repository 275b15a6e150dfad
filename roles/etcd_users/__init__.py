"""The role etcd_users: see role.py."""
