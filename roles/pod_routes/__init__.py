"""The role pod_routes: see role.py."""
