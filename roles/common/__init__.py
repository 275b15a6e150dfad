"""Code that several roles share."""
