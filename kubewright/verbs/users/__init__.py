"""People: who may do what, with which credential, and how that ends. docs/decisions says why it is done this way."""
