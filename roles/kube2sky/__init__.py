"""The role kube2sky: see role.py."""
