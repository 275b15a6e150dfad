"""Authorities, certificates, the store. X.509 only: nothing about hosts, roles or pyinfra."""
