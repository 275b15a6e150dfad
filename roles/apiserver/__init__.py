"""The role apiserver: see role.py."""
