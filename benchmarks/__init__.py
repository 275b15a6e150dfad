"""Measurements of speed: `make bench`. They compare figures of one run; none fails a build."""
