"""What lies below an IMAP session, with real sockets: STARTTLS, compression, and filters by the TLS of a client."""

import contextlib
import imaplib
import smtplib
import socket
import ssl
import zlib

from tests.integration.serving import ANNA, HOST, PASSWORD, TIMEOUT, Answers, ServiceTests, in_thread, message

CLEAR = """
[servers.clear]
type = "imap"
addr = "127.0.0.1:0"
tls_use_starttls = true
"""
BY_TLS = """
[[servers.filtered.client_filters]]
ja4_fingerprint = "^t13"
disable_caps = ["IDLE", "MOVE"]
reason = "a test"

[[servers.filtered.client_filters]]
client_name = "^Odd"
client_version = "^1"
disable_caps = ["COMPRESS=DEFLATE"]

[servers.filtered]
type = "imap"
addr = "127.0.0.1:0"
tls = true
disabled_caps = ["XLIST"]
"""


def trusting() -> ssl.SSLContext:
    """Return a context that believes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class StartTlsTests(ServiceTests):
    """STARTTLS, over lean transports."""

    transport = "lean"

    async def running(self, *tables: str) -> Answers:
        """Start a server on the transports of this class."""
        text = self.text(*tables).replace("[process]\n", f'[process]\ntransport = "{self.transport}"\n')
        return (await self.start(text))[1]

    async def test_a_session_goes_on_in_tls_and_then_compressed(self) -> None:
        answers = await self.running(CLEAR)

        def talk() -> None:
            answers.deliver(message("hello", 50_000))
            client = imaplib.IMAP4(HOST, answers.ports["clear"], timeout=TIMEOUT)
            self.assertIn("STARTTLS", client.capabilities)
            client.starttls(trusting())
            self.assertNotIn("STARTTLS", client.capabilities)
            client.login(ANNA, PASSWORD)
            client.send(b"a1 COMPRESS DEFLATE\r\n")
            self.assertTrue(client.readline().startswith(b"a1 OK"))
            out, into = zlib.compressobj(6, zlib.DEFLATED, -15), zlib.decompressobj(-15)
            asked = out.compress(b"a2 SELECT INBOX\r\na3 FETCH 1 BODY.PEEK[]\r\na4 STARTTLS\r\na5 LOGOUT\r\n")
            client.sock.sendall(asked + out.flush(zlib.Z_SYNC_FLUSH))
            wire = b""
            while data := client.sock.recv(65_536):
                wire += data
            said = into.decompress(wire)
            self.assertIn(b"00000010 hello\r\n", said)
            self.assertIn(b"\r\na4 BAD ", said)
            self.assertIn(b"\r\na5 OK ", said)
            self.assertLess(len(wire), len(said) / 3)

        await in_thread(talk)

    async def test_t1_nothing_behind_starttls_is_executed(self) -> None:
        answers = await self.running(CLEAR)

        def talk() -> None:
            for pieces in ((b"a STARTTLS\r\nb LOGOUT\r\n",), (b"a STARTTLS\r\n", b"b LOGOUT\r\n")):
                with socket.create_connection((HOST, answers.ports["clear"]), timeout=TIMEOUT) as client:
                    self.assertTrue(client.recv(1_000).startswith(b"* OK"))
                    said = b""
                    with contextlib.suppress(ConnectionResetError):
                        for piece in pieces:
                            client.sendall(piece)
                            said += client.recv(1_000)
                        while data := client.recv(1_000):
                            said += data
                    self.assertIn(b"a ", said)
                    self.assertNotIn(b"b OK", said)
                    self.assertNotIn(b"BYE", said)

        await in_thread(talk)

    async def test_mail_is_delivered_after_starttls(self) -> None:
        answers = await self.running('[servers.relay]\ntype = "lmtp"\naddr = "127.0.0.1:0"\ntls_use_starttls = true\n')

        def talk() -> None:
            with smtplib.LMTP(HOST, answers.ports["relay"], local_hostname="client.example") as client:
                client.ehlo()
                self.assertTrue(client.has_extn("starttls"))
                client.starttls(context=trusting())
                client.ehlo()
                self.assertFalse(client.has_extn("starttls"))
                client.sendmail("bob@example.net", [ANNA], message("by TLS"))
            with imaplib.IMAP4(HOST, answers.ports["imap"], timeout=TIMEOUT) as reader:
                reader.login(ANNA, PASSWORD)
                reader.select("INBOX")
                self.assertIn(b"LMTPS", reader.fetch("1", "(BODY.PEEK[HEADER])")[1][0][1])  # type: ignore[index]

        await in_thread(talk)


class StockStartTlsTests(StartTlsTests):
    """The same over Twisted's own transports."""

    transport = "stock"


class FilterTests(ServiceTests):
    """Capabilities hidden from some clients."""

    async def test_what_is_hidden_depends_on_the_tls_and_on_the_name_of_a_client(self) -> None:
        _, answers = await self.serve(BY_TLS)

        def talk() -> None:
            old = trusting()
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            with imaplib.IMAP4_SSL(HOST, answers.ports["filtered"], ssl_context=old, timeout=TIMEOUT) as client:
                self.assertIn("IDLE", client.capabilities)
                client.login(ANNA, PASSWORD)
                self.assertIn(b" MOVE ", client.capability()[1][0])
                self.assertNotIn(b"XLIST", client.capability()[1][0])
            with imaplib.IMAP4_SSL(HOST, answers.ports["filtered"], ssl_context=trusting(), timeout=TIMEOUT) as client:
                self.assertNotIn("IDLE", client.capabilities)
                client.login(ANNA, PASSWORD)
                self.assertNotIn(b" MOVE ", client.capability()[1][0])
                self.assertIn(b" COMPRESS=DEFLATE ", client.capability()[1][0])
                said = client.xatom("ID", '("name" "Oddity" "version" "1.2")')
                self.assertEqual(said[0], "OK")
                self.assertNotIn(b" COMPRESS=DEFLATE ", client.capability()[1][0])
                self.assertRaises(imaplib.IMAP4.error, client.xatom, "COMPRESS", "DEFLATE")

        await in_thread(talk)

    async def test_a_hello_that_comes_in_pieces_is_waited_for(self) -> None:
        _, answers = await self.serve(BY_TLS)

        def talk() -> None:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = trusting().wrap_bio(incoming, outgoing)
            with socket.create_connection((HOST, answers.ports["filtered"]), timeout=TIMEOUT) as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                said = b""
                while b"\n" not in said:
                    try:
                        said += tls.read(1_000)
                    except ssl.SSLWantReadError:
                        sent = outgoing.read()
                        for start in range(0, len(sent), 150):
                            client.sendall(sent[start : start + 150])
                        incoming.write(client.recv(10_000))
            self.assertTrue(said.startswith(b"* OK [CAPABILITY IMAP4rev1"))
            self.assertNotIn(b" IDLE", said)

        await in_thread(talk)
