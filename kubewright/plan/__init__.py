"""What will be: roles' interface, wanted files, changes, what may change on a live cluster. Pure."""
