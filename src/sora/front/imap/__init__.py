"""The IMAP server: the connection, and one file per family of commands."""
