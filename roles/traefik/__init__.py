"""The role traefik: see role.py."""
