"""SASL exchanges: what is malformed fails cleanly (A7)."""

import base64
import contextlib
from itertools import pairwise

from twisted.trial import unittest

from sora.core import address, limits
from sora.sasl.exchange import LINE_MAX, Cancelled, Challenge, Exchange, PlainCredentials, SaslError, decode, plain


class PlainTests(unittest.SynchronousTestCase):
    """PLAIN messages (RFC 4616)."""

    def test_a_message_gives_names_and_password(self) -> None:
        self.assertEqual(plain(b"\0tim\0tanstaaftanstaaf"), PlainCredentials("", "tim", b"tanstaaftanstaaf"))
        self.assertEqual(plain(b"Ursel\0Kurt\0xipj3plmq"), PlainCredentials("Ursel", "Kurt", b"xipj3plmq"))

    def test_only_another_authorization_name_acts_for_another(self) -> None:
        self.assertFalse(plain(b"\0me\0x").acts_for_another)
        self.assertFalse(plain(b"me\0me\0x").acts_for_another)
        self.assertTrue(plain(b"you\0me\0x").acts_for_another)

    def test_a7_messages_with_too_few_or_too_many_nuls_are_refused(self) -> None:
        for message in (b"", b"a", b"a\0b", b"\0a\0b\0c", b"\0a\0b\0", b"\0\0", b"\0\0\0"):
            self.assertRaises(SaslError, plain, message)

    def test_a7_empty_name_and_empty_password_are_refused(self) -> None:
        for message in (b"\0\0password", b"\0name\0", b"as\0\0password"):
            self.assertRaises(SaslError, plain, message)

    def test_a7_names_of_eight_bits_are_utf8_and_cut_ones_are_refused(self) -> None:
        self.assertEqual(plain("\0jörg@example.org\0pässword".encode()).authentication, "jörg@example.org")
        for message in (b"\0j\xf6rg\0x", "\0jö".encode()[:-1] + b"\0x", b"\xff\0me\0x", b"\0\xed\xa0\x80\0x"):
            self.assertRaises(SaslError, plain, message)

    def test_a_password_need_not_be_utf8(self) -> None:
        self.assertEqual(plain(b"\0me\0p\xe4ss").password, b"p\xe4ss")

    def test_a7_over_long_names_and_passwords_are_refused(self) -> None:
        name, password = b"n" * address.ADDRESS_MAX, b"p" * limits.PASSWORD_MAX
        self.assertEqual(plain(b"\0" + name + b"\0" + password).password, password)
        self.assertRaises(SaslError, plain, b"\0" + name + b"n\0x")
        self.assertRaises(SaslError, plain, name + b"n\0me\0x")
        self.assertRaises(SaslError, plain, b"\0me\0" + password + b"p")

    def test_the_password_is_not_shown(self) -> None:
        self.assertNotIn("hunter2", repr(plain(b"\0me\0hunter2")))


class ExchangeTests(unittest.SynchronousTestCase):
    """The state machine."""

    def test_with_an_initial_response_no_challenge_is_needed(self) -> None:
        self.assertEqual(Exchange("plain").start(base64.b64encode(b"\0me\0pw")), PlainCredentials("", "me", b"pw"))

    def test_without_one_there_is_an_empty_challenge(self) -> None:
        exchange = Exchange("PLAIN")
        self.assertEqual(exchange.start(), Challenge(b""))
        self.assertEqual(exchange.respond(base64.b64encode(b"\0me\0pw")), PlainCredentials("", "me", b"pw"))

    def test_a7_a_star_cancels_an_answer_and_is_no_initial_response(self) -> None:
        exchange = Exchange("PLAIN")
        exchange.start()
        self.assertRaises(Cancelled, exchange.respond, b"*")
        error = self.assertRaises(SaslError, Exchange("PLAIN").start, b"*")
        self.assertNotIsInstance(error, Cancelled)

    def test_a7_an_exchange_that_ended_stays_ended(self) -> None:
        for line in (b"*", b"!!!", base64.b64encode(b"nonsense"), base64.b64encode(b"\0me\0pw")):
            exchange = Exchange("PLAIN")
            exchange.start()
            with contextlib.suppress(SaslError):
                exchange.respond(line)
            self.assertRaises(SaslError, exchange.respond, base64.b64encode(b"\0me\0pw"))

    def test_a7_what_is_not_base64_is_refused(self) -> None:
        for line in (b"A", b"AGE=AGI=", b"AGEA\nYg==", b"A GEA", b"AGEA-_", b"=", b"====", b"\xff\xfe", b"AGEAYg"):
            self.assertRaises(SaslError, decode, line)

    def test_a7_an_over_long_line_is_refused_before_it_is_decoded(self) -> None:
        error = self.assertRaises(SaslError, decode, b"A" * (LINE_MAX + 4))
        self.assertIn("too long", str(error))

    def test_the_longest_message_fits_into_a_line(self) -> None:
        message = b"\0".join([b"n" * address.ADDRESS_MAX] * 2 + [b"p" * limits.PASSWORD_MAX])
        self.assertEqual(decode(base64.b64encode(message)), message)

    def test_an_equals_sign_is_an_empty_initial_response(self) -> None:
        self.assertEqual(decode(b"=", initial=True), b"")
        self.assertRaises(SaslError, Exchange("PLAIN").start, b"=")

    def test_an_unknown_mechanism_is_refused(self) -> None:
        for name in ("", "LOGIN", "X" * 5_000):
            self.assertRaises(SaslError, Exchange, name)

    def test_no_error_repeats_what_the_peer_sent(self) -> None:
        for message in (b"hunter2", b"\0\xffhunter2\0hunter2", b"\0\0hunter2", b"\0a\0hunter2\0hunter2"):
            error = self.assertRaises(SaslError, plain, message)
            self.assertNotIn("hunter2", str(error))

    def test_every_cut_of_a_good_message_is_refused_or_shorter(self) -> None:
        message = "you\0jörg\0pässwörd".encode()
        for first, second in pairwise(range(len(message))):
            try:
                cut = plain(message[:second])
            except SaslError:
                continue
            self.assertTrue(b"p\xc3\xa4ssw\xc3\xb6rd".startswith(cut.password), first)
