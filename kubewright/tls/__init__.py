"""TLS handshakes: probes, and the matrix of allowed and refused connections."""
