"""What a host and its cluster are: the question, one command, and its answer, typed."""
