"""Who asks, when proxies stand between: `scope["client"]` is the client's own address from here on."""

from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class TrustedProxiesMiddleware:
    """Believes X-Forwarded-For and X-Forwarded-Proto of these networks, and of nobody else.

    X-Forwarded-Host is never read: PUBLIC_URL says what this site is called.
    """

    def __init__(self, app: ASGIApp, networks: Collection[Network]) -> None:
        self._app = app
        self._networks = networks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._networks and scope["type"] == "http" and scope.get("client"):
            peer = parse(scope["client"][0])
            if peer is not None and self._trusts(peer):
                headers = Headers(scope=scope)
                entries = ",".join(headers.getlist("x-forwarded-for")).split(",")
                client = self._client(peer, reversed(entries))
                port = scope["client"][1] if client == peer else 0
                scope["client"] = (str(client), port)
                told = ",".join(headers.getlist("x-forwarded-proto")).rpartition(",")[2].strip().lower()
                if told in {"http", "https"}:
                    scope["scheme"] = told
        await self._app(scope, receive, send)

    def _client(self, peer: Address, entries: Iterable[str]) -> Address:
        """The first from the right that is no proxy of ours: what stands left of it, anybody can write."""
        client = peer
        for entry in entries:
            found = parse(entry)
            if found is None or not self._trusts(client):
                break
            client = found
        return client

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def parse(entry: str) -> Address | None:
    """One address of X-Forwarded-For, with or without a port; None for anything else."""
    text = entry.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket for both families tells of IPv4 clients this way.
    return getattr(address, "ipv4_mapped", None) or address
