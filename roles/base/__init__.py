"""The role base: see role.py."""
