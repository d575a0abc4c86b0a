"""The LMTP conversation without sockets: sequence, parameters, chunks, and who is answered how often."""

from twisted.trial.unittest import SynchronousTestCase

from sora.core import errors
from sora.lmtp.codes import CODES, code_for, reply, reply_for
from sora.lmtp.commands import BodyType, Mail, Rcpt, RefusedError, parse
from sora.lmtp.core import Core, Deliver, Resolve, Say

Delivered = tuple[Mail, list[str], bytes]


class Peer:
    """Drives a core: addresses beginning with `no` are unknown, deliveries are answered 250."""

    def __init__(self, **options: int) -> None:
        self.core: Core[str] = Core("mx.example.org", **options)
        self.delivered: list[Delivered] = []
        self.closed = False

    def say(self, *lines: str) -> list[str]:
        return self.send("".join(f"{line}\r\n" for line in lines).encode())

    def send(self, data: bytes) -> list[str]:
        """Send octets and return the lines of the answer."""
        answer = b""
        events = self.core.feed(data)
        while events and not self.closed:
            step = self.core.take(events.pop(0))
            if isinstance(step, Say):
                answer += step.data
                self.closed = step.close
            elif isinstance(step, Resolve):
                unknown = step.address.startswith("no")
                known, gone = self.core.accept, self.core.refuse(errors.NoSuchAccount("no such user here"))
                answer += gone if unknown else known(step.address, step.address)
            elif isinstance(step, Deliver):
                self.delivered.append((step.mail, step.recipients, step.data))
                answer += b"250 2.1.5 stored\r\n" * len(step.recipients)
            events.extend(self.core.feed(b""))
        return answer.decode("ascii").splitlines()

    def begin(self, *recipients: str, mail: str = "MAIL FROM:<s@example.net>") -> "Peer":
        self.say("LHLO client.example", mail, *(f"RCPT TO:<{one}>" for one in recipients or ("a@example.org",)))
        return self


def codes(lines: list[str]) -> list[str]:
    return [line[:9] for line in lines]


class GreetingTests(SynchronousTestCase):
    def test_lhlo_announces_what_is_there(self) -> None:
        lines = Peer(message_max=1234).say("LHLO client.example")
        self.assertEqual(lines[0], "250-mx.example.org")
        self.assertEqual(
            {line[4:] for line in lines[1:]},
            {"PIPELINING", "SIZE 1234", "8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME", "ENHANCEDSTATUSCODES"},
        )
        self.assertEqual([line[3] for line in lines], ["-"] * 7 + [" "])

    def test_smtp_is_not_spoken_here(self) -> None:
        self.assertEqual(codes(Peer().say("EHLO a", "HELO a")), ["500 5.5.1"] * 2)

    def test_lhlo_without_a_name_is_refused(self) -> None:
        for line in ("LHLO", "LHLO  ", "LHLO a b", "LHLO a(b", "LHLO ä"):
            self.assertEqual(codes(Peer().say(line)), ["501 5.5.4"], line)

    def test_the_small_commands_are_answered_at_any_time(self) -> None:
        lines = Peer().say("NOOP", "NOOP anything", "VRFY anna", "HELP", "RSET", "FOO", "QUIT", "NOOP")
        self.assertEqual([line[:3] for line in lines], ["250", "250", "252", "214", "250", "500", "221"])


class SequenceTests(SynchronousTestCase):
    def test_commands_out_of_order_are_503(self) -> None:
        peer = Peer()
        lines = peer.say("MAIL FROM:<a@b.c>", "RCPT TO:<a@b.c>", "DATA", "BDAT 0 LAST")
        self.assertEqual(codes(lines), ["503 5.5.1"] * 4)
        peer.say("LHLO c")
        self.assertEqual(codes(peer.say("RCPT TO:<a@b.c>", "DATA")), ["503 5.5.1"] * 2)
        self.assertEqual(codes(peer.say("MAIL FROM:<a@b.c>", "MAIL FROM:<a@b.c>")), ["250 2.1.0", "503 5.5.1"])

    def test_data_without_an_accepted_recipient_is_503(self) -> None:
        self.assertEqual(codes(Peer().begin("nobody@example.org").say("DATA")), ["503 5.5.1"])

    def test_a_refused_data_leaves_the_session_in_step(self) -> None:
        peer = Peer()
        self.assertEqual(codes(peer.say("LHLO c", "DATA", "NOOP")[-2:]), ["503 5.5.1", "250 2.0.0"])

    def test_rset_and_lhlo_end_a_transaction(self) -> None:
        for command in ("RSET", "LHLO again"):
            peer = Peer().begin()
            self.assertFalse(peer.core.idle)
            peer.say(command)
            self.assertTrue(peer.core.idle)
            self.assertEqual(codes(peer.say("DATA")), ["503 5.5.1"])

    def test_too_many_recipients_are_452_and_the_others_stay(self) -> None:
        peer = Peer(recipients_max=2).begin("a@b.c")
        lines = peer.say("RCPT TO:<b@b.c>", "RCPT TO:<c@b.c>", "DATA", "x", ".")
        self.assertEqual(codes(lines), ["250 2.1.5", "452 4.5.3", "354 end w", "250 2.1.5", "250 2.1.5"])
        self.assertEqual(peer.delivered[0][1], ["a@b.c", "b@b.c"])

    def test_after_too_many_bad_commands_in_a_row_the_connection_closes(self) -> None:
        peer = Peer(bad_commands_max=3)
        self.assertEqual(
            codes(peer.say("X", "X", "NOOP", "X", "X")), ["500 5.5.1"] * 2 + ["250 2.0.0"] + ["500 5.5.1"] * 2
        )
        self.assertEqual(codes(peer.say("X", "NOOP")), ["500 5.5.1", "421 4.7.0"])
        self.assertTrue(peer.closed)


class MailTests(SynchronousTestCase):
    def answer(self, line: str) -> str:
        peer = Peer(message_max=1000)
        peer.say("LHLO c")
        return peer.say(line)[0][:9]

    def test_what_is_accepted(self) -> None:
        for tail in (
            "<a@b.c>", " <a@b.c>", "<>", "<@r1.example,@r2.example:a@b.c>", "<a@b.c> SIZE=1000", "<a@b.c> size=0",
            '<"a b"@b.c>', "<a@[192.0.2.1]>", "<a@b.c> BODY=7BIT", "<a@b.c> BODY=8bitmime SIZE=5",
            "<a@b.c> BODY=BINARYMIME", "<ä@b.c> SMTPUTF8", "<a=b+c@b.c>",
        ):  # fmt: skip
            self.assertEqual(self.answer(f"MAIL FROM:{tail}"), "250 2.1.0", tail)
            self.assertEqual(self.answer(f"mail from:{tail}"), "250 2.1.0", tail)

    def test_what_is_refused(self) -> None:
        for tail, code in (
            ("FROM:<a@b.c", "501 5.5.4"), ("FROM:a@b.c", "501 5.5.4"), ("<a@b.c>", "501 5.5.4"), ("", "501 5.5.4"),
            ("FROM:<a b@b.c>", "501 5.5.4"), ("FROM:<a@b.c>x", "501 5.5.4"), ("FROM:<a@b.c> SIZE=x", "501 5.5.4"),
            ("FROM:<a@b.c> SIZE=", "501 5.5.4"), ("FROM:<a@b.c> SIZE", "501 5.5.4"),
            ("FROM:<a@b.c> SIZE=1 SIZE=1", "501 5.5.4"), ("FROM:<a@b.c> BODY=9BIT", "501 5.5.4"),
            ("FROM:<a@b.c> SMTPUTF8=1", "501 5.5.4"), ("FROM:<a@b.c> FOO=1", "555 5.5.4"),
            ("FROM:<a>", "553 5.1.7"), ("FROM:<@b.c>", "553 5.1.7"), ("FROM:<a@>", "553 5.1.7"),
            ("FROM:<a@b@c>", "553 5.1.7"), (f"FROM:<{'x' * 600}@b.c>", "553 5.1.7"), ("FROM:<ä@b.c>", "553 5.6.7"),
            ("FROM:<a@b.c> SIZE=1001", "552 5.3.4"),
        ):  # fmt: skip
            self.assertEqual(self.answer(f"MAIL {tail}"), code, tail)

    def test_a_source_route_is_dropped_and_the_parameters_are_kept(self) -> None:
        mail = parse(b"MAIL FROM:<@r.example:a@b.c> SIZE=7 BODY=BINARYMIME SMTPUTF8")
        self.assertEqual(mail, Mail("a@b.c", 7, BodyType.BINARY, True))

    def test_a_line_that_is_not_utf_8_is_refused(self) -> None:
        self.assertRaises(RefusedError, parse, b"MAIL FROM:<\xff@b.c> SMTPUTF8")


class RcptTests(SynchronousTestCase):
    def test_addresses_come_without_routes_and_needless_quotes(self) -> None:
        for text, address in (
            ("<a@b.c>", "a@b.c"),
            ("<@r.example:a@b.c>", "a@b.c"),
            ('<"a.b"@c.d>', "a.b@c.d"),
            ("<Postmaster>", "Postmaster"),
            ("<a+detail@b.c>", "a+detail@b.c"),
        ):
            self.assertEqual(parse(f"RCPT TO:{text}".encode()), Rcpt(address))

    def test_malformed_recipients_are_refused(self) -> None:
        peer = Peer().begin()
        lines = peer.say(
            "RCPT TO:<>", "RCPT TO:<a>", "RCPT TO:<a@b@c>", "RCPT <a@b.c>", "RCPT TO:<a@b.c> NOTIFY=NEVER",
            "RCPT TO:<ä@b.c>", "RCPT",
        )  # fmt: skip
        self.assertEqual([line[:3] for line in lines], ["553", "553", "553", "501", "555", "553", "501"])

    def test_postmaster_without_a_domain_is_ours(self) -> None:
        self.assertEqual(Peer().begin().say("RCPT TO:<postmaster>"), ["250 2.1.5 <postmaster@mx.example.org> OK"])

    def test_addresses_beyond_ascii_need_smtputf8_and_do_not_break_the_reply(self) -> None:
        peer = Peer().begin("ä@example.org", mail="MAIL FROM:<> SMTPUTF8")
        self.assertEqual(peer.say("RCPT TO:<ö@example.org>"), ["250 2.1.5 <?@example.org> OK"])
        peer.say("DATA", "x", ".")
        self.assertEqual(peer.delivered[0][1], ["ä@example.org", "ö@example.org"])


class DataTests(SynchronousTestCase):
    def test_one_answer_for_each_accepted_recipient(self) -> None:
        peer = Peer().begin("a@b.c", "nobody@b.c", "d@b.c")
        self.assertEqual(codes(peer.say("DATA", "..x", ".")), ["354 end w", "250 2.1.5", "250 2.1.5"])
        self.assertEqual(peer.delivered, [(Mail("s@example.net"), ["a@b.c", "d@b.c"], b".x\r\n")])

    def test_a_fault_is_answered_for_each_recipient_and_the_next_transaction_works(self) -> None:
        peer = Peer(message_max=10).begin("a@b.c", "d@b.c")
        self.assertEqual(codes(peer.say("DATA", "0123456789", "."))[1:], ["552 5.3.4"] * 2)
        peer.begin("a@b.c", "d@b.c")
        self.assertEqual(codes(peer.say("DATA", "a\nb", "."))[1:], ["554 5.6.0"] * 2)
        peer.begin()
        self.assertEqual(codes(peer.say("DATA", "x", "."))[1:], ["250 2.1.5"])
        self.assertEqual(len(peer.delivered), 1)

    def test_binarymime_needs_bdat(self) -> None:
        peer = Peer().begin(mail="MAIL FROM:<> BODY=BINARYMIME")
        self.assertEqual(codes(peer.say("DATA")), ["503 5.5.1"])

    def test_dropped_content_is_452_for_each_recipient(self) -> None:
        peer = Peer().begin("a@b.c", "d@b.c")
        peer.say("DATA", "x")
        peer.core.drop()
        self.assertEqual(codes(peer.say(".")), ["452 4.3.1"] * 2)


class ChunkTests(SynchronousTestCase):
    def test_chunks_are_joined_and_kept_as_they_are(self) -> None:
        peer = Peer().begin("a@b.c", "d@b.c")
        lines = peer.send(b"BDAT 3\r\na\n\0BDAT 5\r\n\r\n.\r\nBDAT 0 LAST\r\n")
        self.assertEqual(codes(lines), ["250 2.0.0"] * 2 + ["250 2.1.5"] * 2)
        self.assertEqual(peer.delivered[0][2], b"a\n\0\r\n.\r\n")

    def test_last_with_no_accepted_recipient_has_no_answer_at_all(self) -> None:
        """RFC 2033 4.3."""
        self.assertEqual(Peer().begin("nobody@b.c").send(b"BDAT 1 LAST\r\nxNOOP\r\n"), ["250 2.0.0 OK"])

    def test_data_after_bdat_and_rcpt_after_bdat_are_503(self) -> None:
        peer = Peer().begin()
        peer.send(b"BDAT 1\r\nx")
        self.assertEqual(codes(peer.say("DATA", "RCPT TO:<a@b.c>", "MAIL FROM:<>")), ["503 5.5.1"] * 3)
        self.assertEqual(codes(peer.say("RSET")), ["250 2.0.0"])

    def test_too_many_octets_in_all_are_552_and_last_answers_each_recipient(self) -> None:
        peer = Peer(message_max=5).begin("a@b.c", "d@b.c")
        lines = peer.send(b"BDAT 3\r\nabcBDAT 3\r\ndefBDAT 1\r\nxBDAT 0 LAST\r\n")
        self.assertEqual(codes(lines), ["250 2.0.0", "552 5.3.4", "503 5.5.1", "552 5.3.4", "552 5.3.4"])
        self.assertEqual((peer.delivered, peer.core.held), ([], 0))

    def test_a_chunk_without_a_length_ends_the_connection(self) -> None:
        peer = Peer().begin()
        self.assertEqual(codes(peer.send(b"BDAT LAST\r\nMAIL FROM:<>\r\n")), ["501 5.5.4"])
        self.assertTrue(peer.closed)

    def test_many_small_chunks_cost_what_they_hold(self) -> None:
        peer = Peer(message_max=10_000).begin()
        peer.send(b"BDAT 1\r\nx" * 5_000)
        self.assertEqual(peer.core.held, 5_000)
        peer.core.drop()
        self.assertEqual(peer.core.held, 0)
        self.assertEqual(codes(peer.send(b"BDAT 0 LAST\r\n")), ["452 4.3.1"])


class PipeliningTests(SynchronousTestCase):
    def test_a_whole_transaction_and_the_next_in_one_segment(self) -> None:
        one = b"MAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nRCPT TO:<no@b.c>\r\nDATA\r\nx\r\n.\r\n"
        peer = Peer()
        peer.say("LHLO c")
        self.assertEqual(len(peer.send(one + one + b"QUIT\r\n")), 11)
        self.assertEqual(len(peer.delivered), 2)


class CodeTests(SynchronousTestCase):
    def test_unless_it_is_the_recipients_or_the_messages_fault_it_is_temporary(self) -> None:
        final = {errors.NoSuchAccount, errors.AddressInvalid, errors.MessageTooLarge, errors.NotPermitted}
        final.add(errors.OverQuotaForGood)
        kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
        for kind in [*kinds, ValueError, ZeroDivisionError, MemoryError]:
            error = kind(["x"]) if kind is errors.ConfigurationInvalid else kind("x")
            code, enhanced = code_for(error)
            self.assertEqual(code // 100, 5 if kind in final else 4, kind)
            self.assertEqual(str(code // 100), enhanced[0], kind)
        self.assertTrue(set(CODES) <= set(kinds))

    def test_a_bug_is_451_and_shows_nothing_of_itself(self) -> None:
        self.assertEqual(reply_for(ValueError("secret")), b"451 4.3.0 internal error, try again later\r\n")

    def test_a_reply_is_always_one_ascii_line(self) -> None:
        """T7: nothing in a text can start a reply of its own."""
        line = reply(550, "5.1.1", "a\r\n250 ok\0ä" + "x" * 1000)
        self.assertEqual(line.count(b"\n"), 1)
        self.assertTrue(line.endswith(b"x\r\n") and line.isascii() and b"\0" not in line and len(line) < 512)
