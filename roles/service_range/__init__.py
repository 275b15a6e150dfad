"""The role service_range: see role.py."""
