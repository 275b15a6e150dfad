"""The role addons: see role.py."""
