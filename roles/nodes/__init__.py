"""The role nodes: see role.py."""
