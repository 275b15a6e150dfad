"""What people ask for, one module or folder each: apply, verify, renew, rotate, reset, users."""
