"""The channel between a parent and a child."""

import pickle

from twisted.internet.testing import StringTransport
from twisted.trial import unittest

from sora.core.config.load import parse
from sora.core.config.secret import Secret
from sora.postgres.settings import DatabaseSettings
from sora.service import control

TEXT = """
[database]
hosts = ["db.example.org"]
password = "hush"
[storage.sealing]
keys = { k1 = "1111111111111111111111111111111111111111111111111111111111111111" }
[servers.imap]
addr = ":143"
[[servers.imap.client_filters]]
client_name = "^Outlook"
[servers.metrics]
addr = ":9090"
api_key = "open sesame"
allowed_hosts = ["10.0.0.0/8"]
"""


class Heard(control.Channel):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.words: list[tuple[bytes, bytes]] = []
        self.ends = 0

    def told(self, word: bytes, content: bytes) -> None:
        self.words.append((word, content))

    def closed(self) -> None:
        self.ends += 1


class ChannelTests(unittest.SynchronousTestCase):
    def test_words_arrive_in_any_pieces(self) -> None:
        speaker, heard = Heard(), Heard()
        transport = StringTransport()
        speaker.makeConnection(transport)
        heard.makeConnection(StringTransport())
        speaker.tell(control.READY)
        speaker.tell(control.METRICS, b"a b\nc")
        for octet in transport.value():
            heard.dataReceived(bytes((octet,)))
        self.assertEqual(heard.words, [(b"READY", b""), (b"METRICS", b"a b\nc")])

    def test_nothing_is_said_to_who_is_gone(self) -> None:
        speaker = Heard()
        speaker.tell(control.DRAIN)
        transport = StringTransport()
        speaker.makeConnection(transport)
        speaker.connectionLost()
        speaker.tell(control.DRAIN)
        self.assertEqual((transport.value(), speaker.ends), (b"", 1))

    def test_orders_arrive_with_all_their_secrets(self) -> None:
        orders = control.Orders(
            slot="0",
            configuration=parse(TEXT),
            database=DatabaseSettings(password="hush"),
            sockets={"imap": 4},
            threads=1,
            octets=1_000,
        )
        packed = control.pack(orders)
        self.assertLess(len(packed), 65_536)
        self.assertEqual(control.unpack(packed), orders)

    def test_a_secret_is_pickled_nowhere_else(self) -> None:
        with self.assertRaises(TypeError):
            pickle.dumps(Secret("hush"))

    def test_what_are_no_orders_is_refused(self) -> None:
        with self.assertRaises(TypeError):
            control.unpack(pickle.dumps([]))
