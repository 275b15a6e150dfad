"""A run over all hosts: connections, journal, preflight, gates, steps, stock pyinfra."""
