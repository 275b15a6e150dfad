"""How a host is reached and told: SSH, scripts, transfers, the lock. It knows no run."""
