"""Downloads from addresses that people type: from public hosts only, and only so much and so long."""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx
from httpx_secure import SSRFProtectionError, httpx_ssrf_protection

from admin_app.images.containers import MAX_BYTES, ImageRefused

MAX_REDIRECTS = 5
MAX_ADDRESS_LENGTH = 2000
TIMEOUT_SECONDS = 10
"""From the first redirect's name to the last byte."""
RESOLVE_SECONDS = 3

_HEADERS = {"User-Agent": "admin-app", "Accept": "image/*", "Accept-Encoding": "identity"}

# Through these IPv4 hosts are reached by an IPv6 address that holds theirs (RFC 6052, RFC 8215).
_TRANSLATED, _TRANSLATED_LOCALLY = IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48")

_NO_ADDRESS = "This is no address of an image on the web."
_NOT_PUBLIC = "This address does not lead to the public internet. Give one that everybody can open."


async def download(url: str) -> bytes:
    """Whatever is there, unchecked. Raises ImageRefused."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS), _client() as client:
            for _ in range(1 + MAX_REDIRECTS):
                await require_public(url)
                client.cookies.clear()
                async with client.stream("GET", url) as response:
                    if response.next_request is None:
                        return await _content(response)
                    url = str(response.next_request.url)
    except TimeoutError:
        raise ImageRefused(f"The download took longer than {TIMEOUT_SECONDS} seconds.") from None
    except SSRFProtectionError as error:
        raise ImageRefused(_NOT_PUBLIC) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ImageRefused("The server at this address could not be reached, or broke off.") from error
    raise ImageRefused(f"This address leads on to another one more than {MAX_REDIRECTS} times.")


async def require_public(url: str) -> None:
    """Raises ImageRefused for what `download` would refuse without asking anybody but the name servers."""
    if not all(_is_public(address) for address in await _resolve(read_address(url))):
        raise ImageRefused(_NOT_PUBLIC)


def read_address(url: str) -> httpx.URL:
    """Raises ImageRefused for what no server is asked for, wherever it leads."""
    if len(url) > MAX_ADDRESS_LENGTH:
        raise ImageRefused(f"This address is longer than {MAX_ADDRESS_LENGTH:,} characters.")
    try:
        parts = httpx.URL(url)
        host, port = parts.host, parts.port
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ImageRefused(_NO_ADDRESS) from error
    if parts.scheme not in {"http", "https"} or not host:
        raise ImageRefused("Give an address that begins with http:// or https://.")
    if port is not None and not 0 < port < 65536:
        raise ImageRefused(_NO_ADDRESS)
    if parts.userinfo:
        raise ImageRefused("Give an address without a name and password in it.")
    return parts


async def _resolve(url: httpx.URL) -> set[IPv4Address | IPv6Address]:
    host = url.raw_host.decode()
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
        raise ImageRefused(f"No server called {host} can be found.") from error
    return {ip_address(address[0]) for *_, address in found}


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    """Stricter than `is_global`, which lets multicast and some ways around to private hosts pass."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return _is_public(address.ipv4_mapped)
        if address in _TRANSLATED:
            return _is_public(IPv4Address(address.packed[-4:]))
        if address.sixtofour or address.teredo or address in _TRANSLATED_LOCALLY or address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _client() -> httpx.AsyncClient:
    """Connects to the very address it has checked, so that a name cannot mean another one a moment later."""
    client = httpx.AsyncClient(headers=_HEADERS, timeout=TIMEOUT_SECONDS, trust_env=False)
    # Not by httpx-secure's own check, which is the laxer one.
    return httpx_ssrf_protection(
        client,
        check_globally_reachable=False,
        custom_validator=lambda _host, address, _port: _is_public(address),
    )


async def _content(response: httpx.Response) -> bytes:
    if response.status_code != 200:
        raise ImageRefused(f"The server at this address answered with status {response.status_code}.")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ImageRefused("The server at this address sends the image compressed once more.")
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > MAX_BYTES:
            raise ImageRefused(f"This file has more than {MAX_BYTES // 1024 // 1024} MB.")
    return bytes(content)
