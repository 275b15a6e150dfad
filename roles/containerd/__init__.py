"""The role containerd: see role.py."""
