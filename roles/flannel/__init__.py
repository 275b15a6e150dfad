"""The role flannel: see role.py."""
