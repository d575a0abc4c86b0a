"""Sockets: the one adapter between protocol cores and Twisted, listeners, TLS, timers."""
