"""Where snapshots lie on a host."""

FOLDER = "/var/lib/etcd-snapshots"
"""Not below etcd's data: a lost disk is to lose one of the two, where they are mounts of their own."""
