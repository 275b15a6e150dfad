"""The role snapshots: see role.py."""
