"""The role rbac: see role.py."""
