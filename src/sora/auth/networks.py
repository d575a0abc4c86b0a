"""Whom a connection comes from, for decisions about passwords: trusted networks, keys for throttling."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Ip = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def ip_of(peer: str) -> Ip | None:
    """Return a peer's IP address, IPv4 for one that IPv6 maps; None for a unix socket (or no address at all)."""
    try:
        ip = ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip


def network_of(peer: str) -> str:
    """Return what counts as one peer: an IPv4 address, or the /64 of an IPv6 address (one customer has that many)."""
    ip = ip_of(peer)
    if isinstance(ip, IPv6Address):
        return str(ip_network((ip, 64), strict=False))
    return str(ip) if ip is not None else "local"


def is_trusted(peer: str, networks: Sequence[Network]) -> bool:
    """Tell whether a peer is on this host (loopback, unix socket), or in one of the networks."""
    ip = ip_of(peer)
    if ip is None:
        return not peer
    return ip.is_loopback or any(ip in network for network in networks)
