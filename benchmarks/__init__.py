"""Measurements of what is promised to be fast: `make bench`. Ratios of figures of one run; none fails a build."""
