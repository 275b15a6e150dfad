"""A backup as one encrypted file: the age format, the archive inside it, its manifest, and retention. Asks no host."""
