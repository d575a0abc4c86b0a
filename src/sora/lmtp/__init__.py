"""The LMTP server's core without I/O (RFC 2033): framer, commands, transaction, reply codes."""
