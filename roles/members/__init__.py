"""The role members: see role.py."""
