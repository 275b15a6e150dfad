"""One folder a component, the same file names in each. A role imports no other role."""
