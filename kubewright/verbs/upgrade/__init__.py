"""`kubewright upgrade` and `rollback`: what is checked, in which order it goes, and what a person is told."""
