"""The role binaries: see role.py."""
