"""The role controller_manager: see role.py."""
