"""The role kubelet: see role.py."""
