"""The role votes: see role.py."""
