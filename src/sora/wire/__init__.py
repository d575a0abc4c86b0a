"""Bytes on the wire that more than one protocol uses; no I/O."""
