"""The verbs, one module or folder each: apply, verify, renew, rotate, reset, users."""
