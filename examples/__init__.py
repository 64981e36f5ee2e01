"""Small complete programs; each runs as an acceptance test."""
