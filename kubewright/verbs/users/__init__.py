"""People's access: rights, credentials, and the end of both. docs/decisions has the reasons."""
