"""The role metrics_server: see role.py."""
