"""The role firewall: see role.py."""
