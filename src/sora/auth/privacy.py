"""The one rule for passwords in the clear: where they may be sent without TLS (RFC 8314 4.1)."""

from collections.abc import Sequence

from sora.auth.networks import Network, is_trusted


def permits_plaintext(
    secure: bool, peer: str, *, insecure_auth: bool = False, trusted_networks: Sequence[Network] = ()
) -> bool:
    """Tell whether a peer may send a password: over TLS, from this host or a trusted network, or if all may.

    `peer` is an IP address, empty for a unix socket.
    """
    return secure or insecure_auth or is_trusted(peer, trusted_networks)
