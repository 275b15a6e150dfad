"""`kubewright backup` and `restore`: a cluster as one encrypted file, and back from it."""
