"""The role kube2sky_rights: see role.py."""
