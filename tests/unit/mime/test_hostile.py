"""Mail made to be expensive costs little, and its answers stay bounded and grammatical (L7, L8)."""

import time
import tracemalloc

from twisted.trial import unittest

from sora.core.limits import ADDRESSES_MAX, MIME_DEPTH_MAX, MIME_PARTS_MAX
from sora.mime.addresses import addresses
from sora.mime.describe import describe
from sora.mime.description import Described
from sora.mime.parse import parse
from sora.mime.structure import STRUCTURE_MAX
from tests.unit.mime.grammar import check_body, check_envelope

MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
SECONDS_MAX = 2.0
FLOOR = 1_000_000
"""Octets that any message may cost: below it the ratio says nothing."""


def nested(levels: int) -> bytes:
    return b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level) for level in range(levels)
    )


class Hostile(unittest.SynchronousTestCase):
    """Each within two seconds."""

    def describe(self, raw: bytes) -> Described:
        begin = time.process_time()
        described = describe(raw)
        self.assertLess(time.process_time() - begin, SECONDS_MAX)
        check_envelope(described.envelope)
        check_body(described.structure, extended=True)
        check_body(described.body, extended=False)
        self.assertLess(len(described.structure), 2 * STRUCTURE_MAX)
        return described

    def measured(self, raw: bytes) -> None:
        self.describe(raw)
        tracemalloc.start()
        try:
            describe(raw)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        self.assertLess(peak, max(4 * len(raw), FLOOR))

    def test_l7_ten_thousand_multiparts_within_each_other(self) -> None:
        raw = nested(10_000)
        self.measured(raw)
        self.assertLessEqual(len(parse(raw).parts), MIME_DEPTH_MAX + 2)

    def test_l7_a_hundred_thousand_parts(self) -> None:
        raw = MIXED + b"--b\r\n\r\nx\r\n" * 100_000
        self.measured(raw)
        parts = parse(raw).parts
        self.assertEqual(len(parts), MIME_PARTS_MAX)
        self.assertEqual(parts[-1].end, len(raw))

    def test_l7_a_million_boundary_lines(self) -> None:
        self.measured(MIXED + b"--b\r\n" * 1_000_000)

    def test_l7_a_million_lines_that_only_look_like_boundaries(self) -> None:
        self.describe(nested(90) + b"\r\n--b50x\r\n" * 500_000 + b"--b5" * 100_000)

    def test_l7_parts_without_the_end_of_a_header(self) -> None:
        self.describe(MIXED + b"--b\r\nX: y\r\n" * 200_000)

    def test_l7_one_boundary_for_all_levels(self) -> None:
        self.describe(MIXED + (b"--b\r\n" + MIXED) * 50_000)

    def test_l7_a_header_of_fifty_megabytes(self) -> None:
        self.measured(b"Subject: x\r\n " + b"b" * 50_000_000)

    def test_l7_a_header_of_very_many_fields(self) -> None:
        self.measured(b"a:\n" * 5_000_000)

    def test_l7_a_million_parameter_fragments(self) -> None:
        self.measured(b"Content-Type: text/plain" + b"; x*1*=a''y" * 1_000_000 + b"\r\n\r\n")

    def test_l7_semicolons_and_nothing_else(self) -> None:
        self.describe(b"Content-Type: text/plain" + b"; " * 500_000 + b"\r\n\r\n")

    def test_l7_a_million_addresses(self) -> None:
        self.measured(b"To: " + b"a@b," * 1_000_000 + b"\r\n\r\n")
        self.assertLessEqual(len(addresses(b"a," * 100_000)), ADDRESSES_MAX + 1)

    def test_l7_comments_within_comments(self) -> None:
        self.describe(b"To: " + b"(" * 1_000_000 + b"\r\n\r\n")

    def test_l7_a_backslash_at_the_end_of_a_comment(self) -> None:
        self.describe(b"To: a@b (x\\\r\n\r\n")
        self.assertEqual(addresses(b"a@b (x\\"), [(b"x\\", None, b"a", b"b")])

    def test_l7_messages_within_messages(self) -> None:
        raw = b"Content-Type: message/rfc822\r\n\r\n" * 95 + b"a\r\n" * 1_000_000
        self.measured(raw)
        self.measured(b"Content-Type: message/rfc822\r\n\r\n" * 50_000)

    def test_l7_markup_that_never_closes(self) -> None:
        for piece in (b"<a", b"<!--", b"<script>", b"&#", b"<b <"):
            self.describe(b"Content-Type: text/html\r\n\r\n" + piece * 100_000)

    def test_l7_encoded_words_without_end(self) -> None:
        for piece in (b"=?", b"=?u?q?", b"=?utf-8?q?a?= "):
            self.describe(b"Subject: " + piece * 50_000 + b"\r\n\r\n")

    def test_l7_message_ids_without_end(self) -> None:
        for piece in (b"<", b'<"', b'"a', b"<@"):
            self.describe(b"References: <" + piece * 200_000 + b"\r\n\r\n")

    def test_l7_lines_that_uudecode_to_more_than_they_are(self) -> None:
        self.measured(b"Content-Transfer-Encoding: uuencode\r\n\r\nbegin 644 x\r\n" + b"M\r\n" * 500_000)

    def test_l8_a_thousand_envelopes_of_a_thousand_addresses(self) -> None:
        message = b"--b\r\nContent-Type: message/rfc822\r\n\r\nTo: " + b"a," * 1_000 + b"\r\n\r\n"
        self.describe(MIXED + message * 1_000)

    def test_l8_a_thousand_parts_of_a_hundred_parameters(self) -> None:
        params = b"".join(b";a%d=\xff" % number for number in range(100))
        self.describe(MIXED + (b"--b\r\nContent-Type: text/plain" + params + b"\r\n\r\n") * 1_000)
