"""The role workgroups: see role.py."""
