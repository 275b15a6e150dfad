"""Planning: the roles' interface, wanted files, changes, and the edits that a live cluster allows. Pure."""
