"""Access to hosts: SSH, scripts, transfers, the lock. Nothing here knows of a run."""
