"""The framer: lines, the end of data, chunks, and what is refused while reading."""

from twisted.trial.unittest import SynchronousTestCase

from sora.lmtp.framer import Astray, BadLine, Chunk, Content, Event, Fault, Framer, Line


def framer(**changes: int) -> Framer:
    return Framer(**{"line_max": 100, "message_max": 1000, **changes})


def content(data: bytes, **changes: int) -> list[Event]:
    """Events after an accepted DATA."""
    one = framer(**changes)
    assert one.feed(b"DATA\r\n") == [Line(b"DATA")]
    one.expect_content()
    return one.feed(data)


class LineTests(SynchronousTestCase):
    def test_lines_that_arrive_together_come_apart(self) -> None:
        self.assertEqual(framer().feed(b"NOOP\r\nQUIT\r\n"), [Line(b"NOOP"), Line(b"QUIT")])

    def test_a_line_that_ends_with_a_bare_lf_is_refused(self) -> None:
        self.assertEqual(framer().feed(b"NOOP\nQUIT\r\n"), [BadLine("a line ends with CRLF"), Line(b"QUIT")])

    def test_a_stray_cr_or_nul_is_refused(self) -> None:
        events = framer().feed(b"NO\rOP\r\nNO\0OP\r\n")
        self.assertEqual(events, [BadLine("stray CR or NUL")] * 2)

    def test_an_endless_line_is_never_held(self) -> None:
        one = framer()
        for _ in range(100):
            self.assertEqual(one.feed(b"x" * 50), [])
            self.assertLessEqual(one.held, 100)
        self.assertEqual(one.feed(b"\r\nNOOP\r\n"), [BadLine("line too long"), Line(b"NOOP")])

    def test_nothing_is_parsed_after_data_until_it_is_decided(self) -> None:
        one = framer()
        self.assertEqual(one.feed(b"DATA\r\nQUIT\r\n"), [Line(b"DATA")])
        self.assertEqual(one.feed(b"NOOP\r\n"), [])
        one.refuse_content()
        self.assertEqual(one.feed(b""), [Line(b"QUIT"), Line(b"NOOP")])


class EndOfDataTests(SynchronousTestCase):
    """T3: the end of data is CRLF.CRLF and nothing that looks like it."""

    def test_data_ends_with_crlf_dot_crlf(self) -> None:
        self.assertEqual(content(b"a\r\nb\r\n.\r\nQUIT\r\n"), [Content(b"a\r\nb\r\n"), Line(b"QUIT")])

    def test_no_other_ending_ends_the_data_and_the_message_is_refused_whole(self) -> None:
        for smuggled in (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n"):
            inner = b"x" + smuggled + b"MAIL FROM:<evil@example.org>\r\n"
            events = content(b"Subject: a\r\n\r\n" + inner + b"\r\n.\r\n")
            self.assertEqual(events, [Content(b"", Fault.BARE_LINE_END)], smuggled)

    def test_stuffed_dots_are_removed(self) -> None:
        self.assertEqual(content(b"..\r\n..a\r\n.b\r\nc.\r\n...\r\n.\r\n"), [Content(b".\r\n.a\r\nb\r\nc.\r\n..\r\n")])

    def test_an_empty_message_is_empty(self) -> None:
        self.assertEqual(content(b".\r\n"), [Content(b"")])

    def test_too_large_data_is_read_to_its_end_and_not_held(self) -> None:
        one = framer()
        one.feed(b"DATA\r\n")
        one.expect_content()
        for _ in range(200):
            self.assertEqual(one.feed(b"x" * 98 + b"\r\n"), [])
            self.assertLessEqual(one.held, 1100)
        self.assertEqual(one.feed(b".\r\nNOOP\r\n"), [Content(b"", Fault.TOO_LARGE), Line(b"NOOP")])

    def test_dots_removed_do_not_count_against_the_size(self) -> None:
        self.assertEqual(content(b"..\r\n" * 3 + b".\r\n", message_max=9), [Content(b".\r\n" * 3)])
        self.assertEqual(content(b"..\r\n" * 3 + b".\r\n", message_max=8), [Content(b"", Fault.TOO_LARGE)])

    def test_dropped_data_is_a_fault_at_its_end(self) -> None:
        one = framer()
        one.feed(b"DATA\r\n")
        one.expect_content()
        one.feed(b"a\r\n")
        one.drop()
        self.assertEqual(one.held, 0)
        self.assertEqual(one.feed(b"b\r\n.\r\n"), [Content(b"", Fault.NO_ROOM)])


class ChunkTests(SynchronousTestCase):
    def test_chunks_hold_any_octets(self) -> None:
        octets = b"\r\n.\r\nQUIT\r\n\0\n\r"
        events = framer().feed(b"BDAT %d\r\n%sbdat 0 last\r\nNOOP\r\n" % (len(octets), octets))
        self.assertEqual(events, [Chunk(octets, len(octets), False), Chunk(b"", 0, True), Line(b"NOOP")])

    def test_a_chunk_above_the_limit_is_read_and_not_held(self) -> None:
        one = framer()
        self.assertEqual(one.feed(b"BDAT 5000 LAST\r\n"), [])
        for _ in range(49):
            one.feed(b"x" * 100)
            self.assertEqual(one.held, 0)
        self.assertEqual(one.feed(b"x" * 100 + b"NOOP\r\n"), [Chunk(b"", 5000, True, Fault.TOO_LARGE), Line(b"NOOP")])

    def test_after_a_chunk_without_a_length_nothing_is_read(self) -> None:
        for line in (b"BDAT\r\n", b"BDAT x\r\n", b"BDAT -1\r\n", b"BDAT 1 FIRST\r\n", b"BDAT 9999999999999999\r\n"):
            self.assertEqual(framer().feed(line + b"MAIL FROM:<evil@example.org>\r\n"), [Astray()])
