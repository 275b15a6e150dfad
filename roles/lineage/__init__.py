"""The role lineage: see role.py."""
