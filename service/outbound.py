"""Requests to addresses that strangers name: pictures by their URL, and webhooks.

A stranger may not reach through us what only we can reach (server-side request forgery, OWASP API7:2023). Every address that a name
resolves to is checked, the connection goes to the very address that was checked, and each redirect passes the same way: a name
whose answer changes between check and connection (DNS rebinding) gains nothing.
"""

import asyncio
import logging
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_REDIRECTS = 3
RESOLVE_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0

NOT_PUBLIC: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this network (RFC 791)
            "10.0.0.0/8",  # private (RFC 1918)
            "100.64.0.0/10",  # shared by carriers (RFC 6598)
            "127.0.0.0/8",  # loopback (RFC 1122)
            "169.254.0.0/16",  # link-local (RFC 3927), where clouds keep their credentials
            "172.16.0.0/12",  # private (RFC 1918)
            "192.0.0.0/24",  # protocol assignments (RFC 6890)
            "192.0.2.0/24",  # documentation (RFC 5737)
            "192.31.196.0/24",  # AS112 (RFC 7535)
            "192.52.193.0/24",  # AMT (RFC 7450)
            "192.88.99.0/24",  # 6to4 relays (RFC 7526)
            "192.168.0.0/16",  # private (RFC 1918)
            "192.175.48.0/24",  # AS112 (RFC 7534)
            "198.18.0.0/15",  # benchmarking (RFC 2544)
            "198.51.100.0/24",  # documentation (RFC 5737)
            "203.0.113.0/24",  # documentation (RFC 5737)
            "224.0.0.0/4",  # multicast (RFC 5771)
            "240.0.0.0/4",  # reserved (RFC 1112), and broadcast
        ),
    )
)
"""IPv4 networks that are no public hosts'."""

PUBLIC_V6 = IPv6Network("2000::/3")
"""What has been given out of IPv6 (RFC 4291); loopback, local, mapped, NAT64 and multicast addresses lie outside."""

NOT_PUBLIC_V6: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "2001::/23",  # protocol assignments (RFC 2928), Teredo among them
            "2001:db8::/32",  # documentation (RFC 3849)
            "2002::/16",  # 6to4 (RFC 3056), which carries any IPv4 address
            "2620:4f:8000::/48",  # AS112 (RFC 7534)
            "3fff::/20",  # documentation (RFC 9637)
        ),
    )
)
"""Exceptions in :data:`PUBLIC_V6`."""


class AddressRefusedError(Exception):
    """The URL leads where strangers may not send us."""


def is_public(address: Address) -> bool:
    """Whether anybody may be sent there. Stricter than Python's `is_global`, which calls NAT64, 6to4 and multicast global.

    >>> is_public(ip_address("93.184.215.14")), is_public(ip_address("::ffff:10.0.0.1"))
    (True, False)
    """
    if isinstance(address, IPv6Address):
        return address in PUBLIC_V6 and not any(address in network for network in NOT_PUBLIC_V6)
    return not any(address in network for network in NOT_PUBLIC)


def may_be_asked(address: Address, allowed: Iterable[Network]) -> bool:
    """Whether a stranger may send us there: to the public, and to `allowed` networks of the operator's besides."""
    return is_public(address) or any(address in network for network in allowed)


def check_url(url: httpx.URL, schemes: Iterable[str] = ("http", "https")) -> None:
    """Raises AddressRefusedError unless the URL is one that could be asked at all; no name is resolved."""
    if url.scheme not in schemes:
        raise AddressRefusedError(f"A URL must begin with {' or '.join(f'{s}://' for s in schemes)}.")
    if not url.raw_host:
        raise AddressRefusedError("A URL must name a host.")
    if url.userinfo:
        raise AddressRefusedError("A URL must not carry a user name or a password.")


class PublicTransport(httpx.AsyncBaseTransport):
    """httpx's transport, to public addresses only, and to those of `allowed` besides."""

    def __init__(self, allowed: Iterable[Network] = ()) -> None:
        """`allowed`: networks of the operator's own that may be reached too."""
        self._allowed = tuple(allowed)
        # No connection is kept: the pool knows it by its address only, and another name may share that.
        self._transport = httpx.AsyncHTTPTransport(
            trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises AddressRefusedError, or httpx.ConnectError where the name is unknown."""
        check_url(request.url)
        name = request.url.raw_host.decode("ascii")
        addresses = await _addresses(name, request.url.port or (443 if request.url.scheme == "https" else 80))
        for address in addresses:
            if not may_be_asked(address, self._allowed):
                raise AddressRefusedError(f"{name} is not on the public internet.")
        failure = httpx.ConnectError(f"{name} has no address.")
        for address in addresses:
            checked = httpx.Request(
                request.method,
                request.url.copy_with(host=str(address)),
                headers=request.headers,  # with the name as `Host`
                stream=request.stream,
                extensions={
                    **request.extensions,
                    "sni_hostname": name,
                },  # the certificate has to be the name's
            )
            try:
                return await self._transport.handle_async_request(checked)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = httpx.ConnectError(f"{name}: {error}")
        raise failure

    async def aclose(self) -> None:
        """Close what is open."""
        await self._transport.aclose()


def public_client(allowed: Iterable[Network] = (), *, timeout_s: float) -> httpx.AsyncClient:
    """A client for URLs of strangers; it follows no redirect unless told to. `timeout_s` is for each read and write."""
    # It logs each request's whole URL, where strangers keep what proves who they are.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return httpx.AsyncClient(
        transport=PublicTransport(allowed),
        timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
        trust_env=False,
        max_redirects=MAX_REDIRECTS,
    )


async def _addresses(name: str, port: int) -> list[Address]:
    try:
        return [ip_address(name)]
    except ValueError:
        pass
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise httpx.ConnectError(f"{name} cannot be resolved: {error}") from error
    # A scope (fe80::1%eth0) is no part of the address that is checked.
    return list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))
