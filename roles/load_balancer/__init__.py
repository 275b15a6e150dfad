"""The role load_balancer: see role.py."""
