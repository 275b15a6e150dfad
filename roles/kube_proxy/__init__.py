"""The role kube_proxy: see role.py."""
