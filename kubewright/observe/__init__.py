"""The state of a host and its cluster: one command to observe it, and its output as types."""
