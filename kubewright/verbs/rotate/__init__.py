"""Rotations of authorities, of the service-account key, and of the key that encrypts Secrets."""
