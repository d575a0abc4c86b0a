"""Bytes become commands; limits hold; both sides stay in step."""

from twisted.trial import unittest

from sora.core import limits
from sora.imap.framer import Command, Event, Fatal, Framer, Line, LiteralOffered, Malformed, Refusal, Refused


def signed_in(**settings: int) -> Framer:
    framer = Framer(**settings)
    framer.authenticated = True
    return framer


NEXT = Command(b"z", b"NOOP", (b"",))


class Lines(unittest.SynchronousTestCase):
    def test_a_command_is_tag_name_and_text(self) -> None:
        events = signed_in().feed(b'a.1 select "x y"\r\n')
        self.assertEqual(events, [Command(b"a.1", b"SELECT", (b'"x y"',))])

    def test_uid_belongs_to_the_name(self) -> None:
        events = signed_in().feed(b"a uid fetch 1:* FLAGS\r\na UID\r\n")
        self.assertEqual(events, [Command(b"a", b"UID FETCH", (b"1:* FLAGS",)), Command(b"a", b"UID", (b"",))])

    def test_a_bare_lf_ends_a_line(self) -> None:
        self.assertEqual(signed_in().feed(b"a NOOP\nz NOOP\r\n"), [Command(b"a", b"NOOP", (b"",)), NEXT])

    def test_what_is_no_command_is_malformed_with_its_tag_if_it_has_one(self) -> None:
        events = signed_in().feed(b"(x\r\n\r\na1\r\n\xff NOOP\r\n+ NOOP\r\nz NOOP\r\n")
        self.assertEqual(
            [event.tag for event in events if isinstance(event, Malformed)], [b"*", b"*", b"a1", b"*", b"*"]
        )
        self.assertEqual(events[-1], NEXT)

    def test_a_line_too_long_is_refused_once_and_the_next_one_read(self) -> None:
        framer = signed_in()
        events = framer.feed(b"a SEARCH " + b"x" * limits.IMAP_LINE_MAX)
        events += framer.feed(b"y" * 1000 + b"\r\nz NOOP\r\n")
        self.assertEqual(events, [Refused(b"a", b"SEARCH", Refusal.LINE), NEXT])

    def test_a_line_of_the_greatest_length_is_taken(self) -> None:
        line = b"a SEARCH ".ljust(limits.IMAP_LINE_MAX - 1, b"x")
        self.assertEqual(signed_in().feed(line + b"\r\n"), [Command(b"a", b"SEARCH", (line[9:],))])
        self.assertEqual(signed_in().feed(line + b"x\r\n"), [Refused(b"a", b"SEARCH", Refusal.LINE)])

    def test_the_literal_behind_a_line_too_long_is_not_taken_for_a_command(self) -> None:
        events = signed_in().feed(b"a X " + b"x" * limits.IMAP_LINE_MAX + b"{10+}\r\nb LOGOUT\r\n\r\nz NOOP\r\n")
        self.assertEqual(events, [Refused(b"a", b"X", Refusal.LINE), NEXT])

    def test_a_line_without_end_is_fatal_before_login(self) -> None:
        framer = Framer()
        events: list[Event] = []
        for _ in range(70):
            events += framer.feed(b"x" * 1000)
            self.assertLess(framer.held, limits.UNAUTHENTICATED_HELD_MAX)
        self.assertEqual([type(event) for event in events], [Fatal])
        self.assertEqual(framer.feed(b"\r\nz NOOP\r\n"), [])


class Literals(unittest.SynchronousTestCase):
    def test_c2_non_synchronizing_literals_in_one_write_before_login(self) -> None:
        events = Framer().feed(b'a ID ("name" {9+}\r\nAppleMail)\r\nb LOGIN {3+}\r\njoe {4+}\r\nseam\r\n')
        self.assertEqual(
            events,
            [
                Command(b"a", b"ID", (b'("name" ', b"AppleMail", b")")),
                Command(b"b", b"LOGIN", (b"", b"joe", b" ", b"seam", b"")),
            ],
        )

    def test_a_synchronizing_literal_waits_for_the_answer(self) -> None:
        framer = Framer()
        self.assertEqual(framer.feed(b"a LOGIN {3}\r\n"), [LiteralOffered(b"a", b"LOGIN", 3)])
        self.assertTrue(framer.waiting)
        self.assertEqual(framer.accept(), [])
        self.assertEqual(framer.feed(b"joe x\r\n"), [Command(b"a", b"LOGIN", (b"", b"joe", b" x"))])

    def test_a_refused_literal_ends_its_command(self) -> None:
        framer = signed_in()
        framer.feed(b"a APPEND x {3}\r\n")
        self.assertEqual(framer.refuse(), [])
        self.assertEqual(framer.feed(b"z NOOP\r\n"), [NEXT])

    def test_what_was_sent_ahead_of_the_answer_is_the_literal(self) -> None:
        framer = signed_in()
        self.assertEqual(len(framer.feed(b"a SELECT {2}\r\nxy\r\nz NOOP\r\n")), 1)
        self.assertEqual(framer.accept(), [Command(b"a", b"SELECT", (b"", b"xy", b"")), NEXT])

    def test_an_empty_literal_is_a_literal(self) -> None:
        framer = signed_in()
        self.assertEqual(framer.feed(b"a X {0+}\r\n {0}\r\n"), [LiteralOffered(b"a", b"X", 0)])
        framer.accept()
        self.assertEqual(framer.feed(b"\r\n"), [Command(b"a", b"X", (b"", b"", b" ", b"", b""))])

    def test_l2_a_large_literal_before_login_is_refused_before_it_is_held(self) -> None:
        framer = Framer()
        events = framer.feed(b"a LOGIN {4097}\r\nz NOOP\r\n")
        self.assertEqual(events, [Refused(b"a", b"LOGIN", Refusal.LITERAL), NEXT])

    def test_l2_a_large_non_synchronizing_literal_before_login_is_drained(self) -> None:
        framer = Framer()
        self.assertEqual(framer.feed(b"a LOGIN {50000+}\r\n" + b"x" * 40_000), [])
        self.assertLess(framer.held, 100)
        events = framer.feed(b"x" * 10_000 + b" {2+}\r\nab\r\nz NOOP\r\n")
        self.assertEqual(events, [Refused(b"a", b"LOGIN", Refusal.LITERAL), NEXT])

    def test_l2_a_huge_non_synchronizing_literal_is_fatal(self) -> None:
        for framer, size in ((Framer(), 70_000), (signed_in(), limits.IMAP_DRAIN_MAX + 1), (signed_in(), 10**30)):
            events = framer.feed(b"a LOGIN {%d+}\r\n" % size)
            self.assertEqual([type(event) for event in events], [Fatal])
            self.assertEqual(framer.feed(b"z NOOP\r\n"), [])

    def test_l2_appending_before_login_has_no_larger_limit(self) -> None:
        events = Framer().feed(b"a APPEND INBOX {5000}\r\nz NOOP\r\n")
        self.assertEqual(events, [Refused(b"a", b"APPEND", Refusal.LITERAL), NEXT])

    def test_l3_the_sum_of_literals_is_bounded(self) -> None:
        framer = signed_in()
        events: list[Event] = framer.feed(b"a SEARCH")
        for _ in range(300):
            events += framer.feed(b" SUBJECT {500+}\r\n" + b"x" * 500)
            self.assertLess(framer.held, limits.IMAP_LITERALS_MAX + limits.IMAP_LINE_MAX)
        events += framer.feed(b"\r\nz NOOP\r\n")
        self.assertEqual(events, [Refused(b"a", b"SEARCH", Refusal.LITERALS), NEXT])

    def test_l3_the_number_of_literals_is_bounded(self) -> None:
        events = signed_in().feed(b"a SEARCH" + b" TO {1+}\r\nx" * 10_000 + b"\r\nz NOOP\r\n")
        self.assertEqual(events, [Refused(b"a", b"SEARCH", Refusal.COUNT), NEXT])

    def test_l1_before_login_all_literals_and_lines_of_a_command_stay_below_the_bound(self) -> None:
        framer = Framer()
        framer.feed(b"a LOGIN")
        for _ in range(1000):
            framer.feed(b" {4000+}\r\n" + b"x" * 4000)
            self.assertLess(framer.held, limits.UNAUTHENTICATED_HELD_MAX)


class Appending(unittest.SynchronousTestCase):
    def test_the_message_has_a_maximum_of_its_own(self) -> None:
        framer = signed_in(append_max=200_000)
        events = framer.feed(b"a APPEND x (\\Seen) {200000+}\r\n" + b"m" * 200_000 + b"\r\n")
        self.assertEqual(events, [Command(b"a", b"APPEND", (b"x (\\Seen) ", b"m" * 200_000, b""))])

    def test_the_mailbox_may_be_a_literal_with_the_ordinary_maximum(self) -> None:
        framer = signed_in(append_max=200_000)
        events = framer.feed(b"a APPEND {1+}\r\nx {100000}\r\n")
        self.assertEqual(events, [LiteralOffered(b"a", b"APPEND", 100_000)])
        events = signed_in(append_max=200_000).feed(b"a APPEND {100000}\r\n")
        self.assertEqual(events, [Refused(b"a", b"APPEND", Refusal.LITERAL)])

    def test_c13_a_message_too_large_is_drained_and_the_session_in_step(self) -> None:
        framer = signed_in(append_max=1000)
        self.assertEqual(framer.feed(b"a APPEND x {100000+}\r\n"), [])
        for _ in range(100):
            self.assertEqual(framer.feed(b"\r\nb LOGOUT\r\n".ljust(1000)), [])
            self.assertLess(framer.held, 100)
        self.assertEqual(framer.feed(b"\r\nz NOOP\r\n"), [Refused(b"a", b"APPEND", Refusal.MESSAGE), NEXT])

    def test_c13_a_message_too_large_is_refused_before_it_is_sent(self) -> None:
        framer = signed_in(append_max=1000)
        self.assertEqual(framer.feed(b"a APPEND x {1001}\r\n"), [Refused(b"a", b"APPEND", Refusal.MESSAGE)])
        self.assertEqual(framer.feed(b"z NOOP\r\n"), [NEXT])

    def test_several_messages_have_a_limit_each_and_one_in_all(self) -> None:
        framer = signed_in(append_max=1000)
        events = framer.feed(b"a APPEND x {1000+}\r\n" + b"m" * 1000 + b" {1000+}\r\n" + b"n" * 1000 + b"\r\n")
        self.assertEqual(events, [Command(b"a", b"APPEND", (b"x ", b"m" * 1000, b" ", b"n" * 1000, b""))])
        framer = signed_in(append_max=1000, together_max=2500)
        self.assertEqual(
            framer.feed((b"a APPEND x " + b"{1000+}\r\n" + b"m" * 1000) + b" {1000+}\r\n" + b"n" * 1000), []
        )
        self.assertEqual(framer.feed(b" {501}\r\n"), [Refused(b"a", b"APPEND", Refusal.MESSAGE)])

    def test_what_replaces_is_a_message_and_its_mailbox_is_not(self) -> None:
        for name in (b"REPLACE", b"UID REPLACE"):
            framer = signed_in(append_max=200_000)
            self.assertEqual(framer.feed(b"a %b 4 x {200000}\r\n" % name), [LiteralOffered(b"a", name, 200_000)])
            events = signed_in(append_max=200_000).feed(b"a %b 4 {100000}\r\n" % name)
            self.assertEqual(events, [Refused(b"a", name, Refusal.LITERAL)])
            events = signed_in(append_max=200_000).feed(b"a %b 4 {1+}\r\nx {200001}\r\n" % name)
            self.assertEqual(events, [Refused(b"a", name, Refusal.MESSAGE)])

    def test_a_literal8_keeps_its_mark(self) -> None:
        events = signed_in().feed(b"a APPEND x ~{2+}\r\n\0\1\r\n")
        self.assertEqual(events, [Command(b"a", b"APPEND", (b"x ~", b"\0\1", b""))])

    def test_a_message_may_come_in_many_small_pieces(self) -> None:
        framer = signed_in()
        framer.feed(b"a APPEND x {5000+}\r\n")
        for _ in range(5000):
            self.assertEqual(framer.feed(b"m"), [])
        self.assertEqual(framer.feed(b"\r\n"), [Command(b"a", b"APPEND", (b"x ", b"m" * 5000, b""))])


class Waiting(unittest.SynchronousTestCase):
    def test_c1_commands_behind_done_are_answered(self) -> None:
        framer = signed_in()
        events = framer.feed(b"a IDLE\r\nDONE\r\nb NOOP\r\nz NOOP\r\n")
        self.assertEqual(events, [Command(b"a", b"IDLE", (b"",))])
        self.assertEqual(framer.expect_line(), [Line(b"DONE")])
        self.assertEqual(framer.resume(), [Command(b"b", b"NOOP", (b"",)), NEXT])

    def test_after_a_refused_idle_the_next_line_is_a_command(self) -> None:
        framer = signed_in()
        framer.feed(b"a IDLE now\r\nz NOOP\r\n")
        self.assertEqual(framer.resume(), [NEXT])

    def test_an_initial_response_needs_no_further_line(self) -> None:
        framer = Framer()
        framer.feed(b"a AUTHENTICATE PLAIN AGEAYg==\r\nz NOOP\r\n")
        self.assertEqual(framer.resume(), [NEXT])

    def test_several_lines_of_an_exchange_come_one_by_one(self) -> None:
        framer = Framer()
        framer.feed(b"a AUTHENTICATE X\r\none {3}\r\ntwo\r\nz NOOP\r\n")
        self.assertEqual(framer.expect_line(), [Line(b"one {3}")])
        self.assertEqual(framer.expect_line(), [Line(b"two")])
        self.assertEqual(framer.resume(), [NEXT])

    def test_a_raw_line_too_long_is_refused_with_the_tag_of_its_command(self) -> None:
        framer = Framer()
        framer.feed(b"a AUTHENTICATE X\r\n")
        framer.expect_line()
        events = framer.feed(b"x" * 9000 + b"\r\nz NOOP\r\n")
        self.assertEqual(events, [Refused(b"a", b"AUTHENTICATE", Refusal.LINE)])
        self.assertEqual(framer.resume(), [NEXT])

    def test_signing_in_raises_the_limits_for_what_was_sent_ahead(self) -> None:
        for accepted, expected in ((True, Command), (False, Refused)):
            framer = Framer()
            framer.feed(b"a LOGIN x y\r\nb SEARCH SUBJECT {10000+}\r\n" + b"x" * 10_000 + b"\r\n")
            framer.authenticated = accepted
            self.assertEqual([type(event) for event in framer.resume()], [expected])

    def test_t1_octets_behind_starttls_are_seen_and_not_read(self) -> None:
        framer = Framer()
        self.assertEqual(framer.feed(b"a STARTTLS\r\nb LOGIN x y\r\n"), [Command(b"a", b"STARTTLS", (b"",))])
        self.assertEqual(framer.ahead, len(b"b LOGIN x y\r\n"))

    def test_flooding_ahead_of_an_answer_is_fatal_before_login(self) -> None:
        framer = Framer()
        framer.feed(b"a LOGIN x y\r\n")
        self.assertEqual(framer.feed(b"x" * 60_000), [])
        self.assertEqual([type(event) for event in framer.feed(b"x" * 6_000)], [Fatal])
        self.assertEqual(framer.resume(), [])

    def test_resuming_is_harmless_when_nothing_waits(self) -> None:
        framer = signed_in()
        self.assertEqual(framer.resume(), [])
        framer.feed(b"a X {3}\r\n")
        self.assertEqual(framer.resume(), [])
        self.assertTrue(framer.waiting)

    def test_deciding_what_is_not_awaited_is_a_bug(self) -> None:
        framer = Framer()
        for decision in (framer.accept, framer.refuse, framer.expect_line):
            self.assertRaises(RuntimeError, decision)
