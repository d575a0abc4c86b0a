"""A mail store on PostgreSQL and an object store: LMTP in, IMAP out."""

__version__ = "0.1.0"
