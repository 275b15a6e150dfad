"""TLS handshakes and what they show: probes, and the matrix of allowed and refused connections."""
