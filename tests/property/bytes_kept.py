"""What "bytes out are bytes in" (V13) means of one message: checked as a client sees it, over any store."""

from typing import Any

from sora.mime import decode
from sora.mime.parse import parse
from tests.dialogs.script import Account, Dialog
from tests.property.imap_client import ImapClient

USER = "demo@example.org"
SCENE = Dialog("bytes", [Account(USER, "secret", [])], {}, (), [])
PARTS_MAX = 4
_CUT = 7
_WHOLE = b"RFC822 RFC822.SIZE RFC822.HEADER RFC822.TEXT BODY[] BODY[HEADER] BODY[TEXT] BODY[]<0.7> BODY[]<7.99999999>"


async def signed_in(world: Any) -> ImapClient:
    """Return a client that has selected INBOX."""
    client = ImapClient(await world.connect())
    await client.answer()
    await client.ok(b"LOGIN demo@example.org secret")
    await client.ok(b"SELECT INBOX")
    return client


async def append(client: ImapClient, raw: bytes) -> None:
    """APPEND octets as they are."""
    await client.ok(b"APPEND INBOX ~{%d+}\r\n%b" % (len(raw), raw))


async def deliver(connection: Any, raw: bytes, *, as_data: bool = False) -> None:
    """Deliver octets by LMTP: in one chunk as they are, or dot-stuffed by DATA (then they end with CRLF)."""
    await connection.send(b"MAIL FROM:<ann@example.com>" + (b"" if as_data else b" BODY=BINARYMIME") + b"\r\n")
    await connection.send(b"RCPT TO:<%b>\r\n" % USER.encode())
    if as_data:
        stuffed = raw.replace(b"\r\n.", b"\r\n..")
        await connection.send(b"DATA\r\n" + (b"." if stuffed.startswith(b".") else b"") + stuffed + b".\r\n")
    else:
        await connection.send(b"BDAT %d LAST\r\n%b" % (len(raw), raw))
    said = [await connection.line() for _ in range(4 if as_data else 3)]
    if not said[-1].startswith(b"250 2.1.5"):
        raise AssertionError(f"{raw[:60]!r} was answered {said}")


async def greeted(world: Any) -> Any:
    """Return an LMTP client that has said LHLO."""
    connection = await world.connect()
    await connection.send(b"LHLO client.example\r\n")
    while not (await connection.line()).startswith(b"250 "):
        pass
    return connection


async def check(test: Any, client: ImapClient, uid: int, raw: bytes, *, delivered: bool = False) -> None:
    """Fetch a message in every way and compare it with the octets that went in."""
    got: dict[bytes, Any] = await client.fetch(uid, _WHOLE)
    whole: bytes = got[b"BODY[]"]
    trace = whole[: len(whole) - len(raw)]
    test.assertEqual(whole, trace + raw)
    if delivered:
        test.assertRegex(trace, rb"\AReturn-Path: <.*>\r\nDelivered-To: .*\r\nReceived: (.*\r\n\t){2}.*\r\n\Z")
    else:
        test.assertEqual(trace, b"")
    test.assertEqual(got[b"RFC822.SIZE"], len(whole))
    test.assertEqual(got[b"RFC822"], whole)
    test.assertEqual(got[b"BODY[]<0>"], whole[:_CUT])
    test.assertEqual(got[b"BODY[]<7>"], whole[_CUT:])
    header, text = got[b"BODY[HEADER]"], got[b"BODY[TEXT]"]
    test.assertEqual((got[b"RFC822.HEADER"], got[b"RFC822.TEXT"]), (header, text))
    # A header that its message ends without the empty line is given one (RFC 3501 6.4.5).
    test.assertTrue(whole.endswith(text) and header.startswith(whole[: len(whole) - len(text)]), (header, text))
    test.assertIn(header[len(whole) - len(text) :], (b"", b"\r\n", b"\r\n\r\n"))
    await _parts(test, client, uid, raw)


async def _parts(test: Any, client: ImapClient, uid: int, raw: bytes) -> None:
    parsed = parse(raw)
    for number in [one for one in parsed.numbers if one][:PARTS_MAX]:
        part = parsed.parts[parsed.numbers[number]]
        name = b".".join(b"%d" % one for one in number)
        mime = b"" if number == (1,) and not parsed.parts[0].is_multipart else b" BODY.PEEK[%b.MIME]" % name
        asked = b"BODY.PEEK[%b] BODY.PEEK[%b]<3.5>%b" % (name, name, mime)
        known = part.encoding.lower() in decode.KNOWN
        if known:
            asked += b" BINARY.PEEK[%b] BINARY.SIZE[%b] BINARY.PEEK[%b]<2.9>" % (name, name, name)
        got: dict[bytes, Any] = await client.fetch(uid, asked)
        body = got[b"BODY[%b]" % name]
        test.assertIn(got.get(b"BODY[%b.MIME]" % name, b"") + body, raw)
        test.assertEqual(got[b"BODY[%b]<3>" % name], body[3:8])
        if known:
            data = got[b"BINARY[%b]" % name]
            test.assertEqual(got[b"BINARY.SIZE[%b]" % name], len(data))
            test.assertEqual(got[b"BINARY[%b]<2>" % name], data[2:11])
            if part.encoding.lower() in (b"", b"7bit", b"8bit", b"binary") or part.is_message or part.is_multipart:
                test.assertEqual(data, body)
