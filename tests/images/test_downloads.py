"""Downloads from real servers on this machine, which is what they otherwise refuse first of all."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import pytest

from admin_app.images import downloads
from admin_app.images.downloads import MAX_BYTES, ImageRefused, download, require_public

NOT_PUBLIC = "This address does not lead to the public internet. Give one that everybody can open."

LOOPBACK = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://0x7F.0x0.0x0.0x1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.0.0.1./",
    "http://127.255.255.254/",
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://0.0.0.0/",
    "http://0/",
    "http://[::]/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b:1::127.0.0.1]/",
    "http://[2002:7f00:1::]/",
    "http://①②⑦.⓪.⓪.①/",
    "http://１２７.0.0.1/",
    "http://127。0。0。1/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://%31%32%37.0.0.1/",
    "http://127.0.0.1:80/",
    "https://127.0.0.1:443/",
    "http://127.0.0.1\\@example.com/",
    "http://example.com\\.127.0.0.1/",
]
PRIVATE = [
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://224.0.0.1/",
    "http://[ff02::1]/",
    "http://255.255.255.255/",
    "http://240.0.0.1/",
    "http://198.18.0.1/",
    "http://192.0.2.1/",
    "http://[2001:db8::1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://[2001:0:ac1e:1::1]/",
]


async def reason(url: str) -> str:
    with pytest.raises(ImageRefused) as refused:
        await require_public(url)
    with pytest.raises(ImageRefused) as again:
        await download(url)
    assert again.value.reason == refused.value.reason
    assert refused.value.reason.endswith(".")
    return refused.value.reason


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every attempt to connect anywhere from now on; none succeeds."""
    attempts: list[Any] = []

    async def refuse(_loop: object, _socket: object, address: object) -> None:
        attempts.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio.selector_events.BaseSelectorEventLoop, "sock_connect", refuse)
    return attempts


@pytest.mark.parametrize("url", LOOPBACK)
async def test_no_spelling_of_this_machine_is_asked(url: str, connections: list[Any]) -> None:
    await reason(url)
    assert connections == []


@pytest.mark.parametrize("url", [*LOOPBACK[:3], *LOOPBACK[17:25], *PRIVATE])
async def test_what_is_not_public_is_called_that(url: str, connections: list[Any]) -> None:
    assert await reason(url) == NOT_PUBLIC
    assert connections == []


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
)
def test_public_addresses_are_public(address: str) -> None:
    assert downloads._is_public(ip_address(address))


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("", "begins with http:// or https://"),
        ("picture.png", "begins with http:// or https://"),
        ("/etc/passwd", "begins with http:// or https://"),
        ("file:///etc/passwd", "begins with http:// or https://"),
        ("ftp://example.com/a.png", "begins with http:// or https://"),
        ("gopher://example.com/", "begins with http:// or https://"),
        ("data:image/png;base64,AAAA", "begins with http:// or https://"),
        ("javascript:alert(1)", "begins with http:// or https://"),
        ("http:///a.png", "begins with http:// or https://"),
        ("http://", "begins with http:// or https://"),
        ("http://user:password@example.com/", "without a name and password"),
        ("http://user@127.0.0.1/", "without a name and password"),
        ("http://example.com:99999/", "no address of an image"),
        ("http://example.com/\n", "no address of an image"),
        ("http://exa mple.com/", "can be found"),
        ("http://[::1/", "no address of an image"),
        ("http://" + "a" * 64 + ".example/", "can be found"),
        ("http://a..b/", "can be found"),
        ("http://nowhere.invalid/", "No server called nowhere.invalid can be found."),
        ("http://example.com/" + "a" * 2000, "longer than 2,000 characters"),
    ],
)
async def test_what_is_no_address_is_told(url: str, what: str) -> None:
    assert what in await reason(url)


async def test_a_name_with_a_public_and_a_private_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, connections: list[Any]
) -> None:
    resolves_to(monkeypatch, ["8.8.8.8", "10.0.0.1"])
    assert await reason("http://both.example/") == NOT_PUBLIC
    assert connections == []


async def test_name_servers_that_do_not_answer_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", never)
    monkeypatch.setattr(downloads, "RESOLVE_SECONDS", 0.05)
    assert await reason("http://example.com/") == "No server called example.com can be found."


def resolves_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """The first time to the first list, and so on; the last one stays."""
    remaining = list(answers)

    async def look_up(*_: object, **__: object) -> list[Any]:
        addresses = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in addresses]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", look_up)


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


class Server:
    """Answers by its path; keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | Answer] = {}
        self.requests: list[str] = []
        self.port = 0
        self.ended = asyncio.Event()

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(request)
            answer = self.answers[request.split()[1]]
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(reader, writer)
        writer.close()
        self.ended.set()


def response(content: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *headers]
    return "\r\n".join([*head, "", ""]).encode() + content


def redirect(to: str, *headers: str) -> bytes:
    return response(b"", f"Location: {to}", *headers, status="302 Found")


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """On 127.0.0.1, which alone counts as public, and 127.0.0.2 does not."""
    monkeypatch.setattr(downloads, "_is_public", lambda address: str(address) in {"127.0.0.1", "8.8.8.8"})
    server = Server()
    listening = await asyncio.start_server(server.serve, "0.0.0.0")
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()


async def test_what_a_server_sends_is_returned(server: Server) -> None:
    content = bytes(range(256)) * 4000
    server.answers["/a.png?size=1"] = response(content)
    assert await download(server.url("/a.png?size=1")) == content
    [request] = server.requests
    assert "Accept-Encoding: identity" in request
    assert "Cookie" not in request


async def test_the_largest_file_is_returned_and_one_byte_more_is_not(server: Server) -> None:
    server.answers["/most"] = response(bytes(MAX_BYTES))
    server.answers["/more"] = response(bytes(MAX_BYTES + 1))
    assert len(await download(server.url("/most"))) == MAX_BYTES
    assert await failure(server.url("/more")) == "This file has more than 20 MB."


async def failure(url: str) -> str:
    with pytest.raises(ImageRefused) as failed:
        await download(url)
    return failed.value.reason


async def test_a_file_without_an_announced_length_is_bounded_too(server: Server) -> None:
    sent = 0

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"100000\r\n" + bytes(0x100000) + b"\r\n")
            sent += 0x100000
            await writer.drain()

    server.answers["/"] = endless
    assert await failure(server.url()) == "This file has more than 20 MB."
    await asyncio.wait_for(server.ended.wait(), 10)
    assert sent < 2 * MAX_BYTES


async def test_one_byte_a_second_is_not_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT_SECONDS", 0.5)

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    server.answers["/"] = drip
    assert await failure(server.url()) == "The download took longer than 0.5 seconds."
    await asyncio.wait_for(server.ended.wait(), 10)


async def test_a_head_that_drips_is_not_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT_SECONDS", 0.5)

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X: y\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    server.answers["/"] = drip
    assert "took longer" in await failure(server.url())


async def test_a_server_that_says_nothing_is_not_waited_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT_SECONDS", 0.3)

    async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    server.answers["/"] = silence
    assert "took longer" in await failure(server.url())


@pytest.mark.parametrize(
    "status", ["204 No Content", "404 Not Found", "206 Partial Content", "500 Oh No", "304 Same"]
)
async def test_only_success_counts(server: Server, status: str) -> None:
    server.answers["/"] = response(b"an error page", status=status)
    assert await failure(server.url()) == f"The server at this address answered with status {status[:3]}."


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate", "gzip, gzip"])
async def test_nothing_is_unpacked(server: Server, encoding: str) -> None:
    bomb = gzip.compress(bytes(30_000_000))
    server.answers["/"] = response(bomb, f"Content-Encoding: {encoding}")
    assert "compressed once more" in await failure(server.url())


async def test_five_redirects_are_followed_and_six_are_not(server: Server) -> None:
    for number in range(6):
        server.answers[f"/{number}"] = redirect(f"/{number + 1}")
    server.answers["/6"] = response(b"there")
    assert await download(server.url("/1")) == b"there"
    assert await failure(server.url("/0")) == "This address leads on to another one more than 5 times."


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.2:{port}/", "http://127.2:{port}/", "http://[::1]:{port}/", "//127.0.0.2:{port}/"],
)
async def test_a_redirect_to_what_is_not_public_is_refused(server: Server, target: str) -> None:
    server.answers["/start"] = redirect(target.format(port=server.port))
    server.answers["/"] = response(b"a secret")
    assert await failure(server.url("/start")) == NOT_PUBLIC
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://user:pw@127.0.0.1/", "http://[/"]
)
async def test_a_redirect_to_no_web_address_is_refused(server: Server, target: str) -> None:
    server.answers["/"] = redirect(target)
    assert (await failure(server.url())).endswith(".")
    assert len(server.requests) == 1


async def test_cookies_are_not_carried_on(server: Server) -> None:
    server.answers["/"] = redirect("/next", "Set-Cookie: tracked=1; Path=/")
    server.answers["/next"] = response(b"there")
    await download(server.url())
    assert not any("cookie" in request.lower() for request in server.requests)


async def test_proxies_and_passwords_of_this_machine_are_not_used(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9/")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9/")
    server.answers["/"] = response(b"there")
    assert await download(server.url()) == b"there"
    assert "authorization" not in server.requests[0].lower()


async def test_a_name_that_means_another_host_a_moment_later_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Public when it is looked up the first time, and then this machine's other address."""
    server.answers["/"] = response(b"a secret")
    resolves_to(monkeypatch, ["8.8.8.8"], ["127.0.0.2"])
    assert await failure(server.url(host="rebinding.example")) == NOT_PUBLIC
    assert server.requests == []


async def test_a_connection_goes_to_the_address_that_was_checked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/"] = response(b"there")
    resolves_to(monkeypatch, ["127.0.0.1"], ["127.0.0.1"], ["127.0.0.2"])
    assert await download(server.url(host="name.example")) == b"there"
    assert f"Host: name.example:{server.port}" in server.requests[0]


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort"]
)
async def test_an_answer_that_breaks_off_is_told(server: Server, answer: bytes) -> None:
    server.answers["/"] = answer
    assert await failure(server.url()) == "The server at this address could not be reached, or broke off."


async def test_a_port_where_nobody_listens_is_told(server: Server) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        assert await failure(url) == "The server at this address could not be reached, or broke off."


async def test_a_cancelled_download_lets_go_of_its_connection(server: Server) -> None:
    asked = asyncio.Event()

    async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()

    server.answers["/"] = silence
    task = asyncio.create_task(download(server.url()))
    await asyncio.wait_for(asked.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(server.ended.wait(), 10)
