"""The role scheduler: see role.py."""
