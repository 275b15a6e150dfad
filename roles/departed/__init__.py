"""The role departed: see role.py."""
