"""Signing in without I/O: SASL exchanges and password hashes."""
