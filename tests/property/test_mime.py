"""Any octets are described, grammatically; well-formed mail is read as the standard library reads it."""

import email
import email.message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from sora.core.limits import PREVIEW_MAX
from sora.mime import addresses
from sora.mime.describe import describe, header_texts
from sora.mime.parse import parse
from sora.mime.section import Kind, Section, UnknownEncoding, decoded, extract
from sora.mime.text import squeeze
from tests.unit.mime.grammar import check_body, check_envelope

REAL = (
    b'From: =?utf-8?q?J=C3=B6?= <a@example.org>\r\nTo: Team: b@example.org, "c d"@example.org;, e@example.org\r\n'
    b"Subject: Re: [list] hello\r\nDate: Mon, 1 Jan 2024 10:00:00 +0100\r\nMessage-ID: <1@example.org>\r\n"
    b'Content-Type: multipart/mixed; boundary="outer"\r\n\r\npreamble\r\n--outer\r\n'
    b"Content-Type: multipart/alternative; boundary=outer2\r\n\r\n--outer2\r\n\r\nplain\r\n--outer2\r\n"
    b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>caf=C3=A9\r\n"
    b"--outer2--\r\n--outer\r\nContent-Type: message/rfc822\r\n\r\nFrom: x@y\r\nSubject: inner\r\n\r\nbody\r\n"
    b"--outer\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename*0*=a''a; filename*1=b\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--outer--\r\n"
)
WORDS = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\n",
            b"\r",
            b"\0",
            b" ",
            b"\t",
            b"x",
            b"\xff",
            b'"',
            b"\\",
            b"(",
            b")",
            b"<",
            b">",
            b",",
            b";",
            b":",
        ),
        *(b"--b", b"--b--", b"--c", b"\r\n\r\n--b\r\n", b"Content-Type: multipart/mixed; boundary=b", b"\r\n\r\n"),
        *(b"Content-Type: multipart/digest; boundary=c", b"Content-Type: message/rfc822", b"From: ", b"To: ", b"a@b"),
        *(b"Subject: Re: [fwd: x]", b"=?utf-8?q?=ff?=", b"=?utf-16?b?AAA?=", b"Date: Mon, 1 Jan 2024 10:00:00 +9999"),
        *(
            b"Content-Transfer-Encoding: base64",
            b"Content-Type: text/html; charset=utf-16",
            b"<!--",
            b"<script",
            b"&#9;",
        ),
        *(b"Content-Disposition: attachment; filename*0*=a''b", b"Content-Language: a, b\r", b"References: <a@b> <"),
    ]
)
MADE = st.lists(WORDS, max_size=40).map(b"".join)
MUTATED = st.tuples(st.integers(0, len(REAL)), st.integers(0, 60), st.one_of(st.binary(max_size=8), WORDS)).map(
    lambda change: REAL[: change[0]] + change[2] + REAL[change[0] + change[1] :]
)
ANY = st.one_of(st.binary(max_size=200), MADE, MUTATED)
BODY = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=60)


class Anything(unittest.SynchronousTestCase):
    @settings(deadline=None, max_examples=100)
    @given(raw=st.lists(ANY, min_size=5, max_size=5))
    def test_any_octets_are_described_in_grammatical_answers(self, raw: list[bytes]) -> None:
        for one in raw:
            described = describe(one)
            check_envelope(described.envelope)
            check_body(described.structure, extended=True)
            check_body(described.body, extended=False)
            self.assertGreater(described.thread, 0)
            self.assertNotIn("\0", described.body_text + described.header_text + described.subject + described.preview)

    @settings(deadline=None, max_examples=100)
    @given(raw=ANY)
    def test_each_part_lies_within_what_contains_it(self, raw: bytes) -> None:
        parts = parse(raw).parts
        for index, part in enumerate(parts):
            self.assertTrue(0 <= part.header_start <= part.body_start <= part.end <= len(raw), part)
            self.assertLess(part.parent, index)
            if index:
                above = parts[part.parent]
                self.assertTrue(above.body_start <= part.header_start and part.end <= above.end, (above, part))

    @settings(deadline=None, max_examples=100)
    @given(raw=ANY)
    def test_header_and_text_together_are_the_message(self, raw: bytes) -> None:
        parsed = parse(raw)
        header, text = (extract(raw, parsed, Section((), kind)) for kind in (Kind.HEADER, Kind.TEXT))
        self.assertEqual((header or b"") + (text or b""), raw)

    @settings(deadline=None, max_examples=100)
    @given(raw=ANY)
    def test_each_numbered_part_can_be_fetched(self, raw: bytes) -> None:
        parsed = parse(raw)
        for number in parsed.numbers:
            self.assertIsNotNone(extract(raw, parsed, Section(number)))
            fields = extract(raw, parsed, Section(number, Kind.HEADER_FIELDS, (b"TO",)))
            self.assertTrue(not fields or fields.endswith(b"\r\n"))
            try:
                self.assertIsNotNone(decoded(raw, parsed, number))
            except UnknownEncoding:
                self.assertIn(b"ncoding", raw)


def _leaves(message: email.message.Message) -> list[tuple[str, bytes]]:
    return [
        (part.get_content_type(), part.get_payload(decode=True) or b"")
        for part in message.walk()
        if not part.is_multipart()
    ]


def _built(shape: list[list[str]]) -> bytes:
    outer = MIMEMultipart("mixed")
    for texts in shape:
        inner = MIMEMultipart("alternative")
        for text in texts:
            inner.attach(MIMEText(text, "plain", "utf-8"))
        outer.attach(inner)
    return outer.as_bytes()


FIELD_VALUES = [b"", b"Plain", b"=?utf-8?q?=C3=84?= B", b"\xc3\x84", b"a\0b", b"\r\tC"]


class Shortcuts(unittest.SynchronousTestCase):
    """What is usual is read another way, to the same end."""

    @given(
        st.lists(st.sampled_from([*map(bytes, zip(b'a. \t\r,:;@()[]<>"\\')), b"Ann ", b"<b@c.d>", b'"q, r" ', b"\xc3"]))
    )
    @settings(max_examples=2_000)
    def test_usual_addresses_are_what_any_addresses_are(self, pieces: list[bytes]) -> None:
        value = b"".join(pieces)
        usual = addresses._usual(value)
        if usual:
            self.assertEqual(usual, addresses._any(value))

    @given(st.lists(st.tuples(st.sampled_from([b"subject", b"x" * 80, b"\xdc", b"to"]), st.sampled_from(FIELD_VALUES))))
    def test_header_texts_are_those_of_each_field_alone(self, fields: list[tuple[bytes, bytes]]) -> None:
        values, text = header_texts(fields)
        alone = [header_texts([field])[1] for field in fields]
        self.assertEqual(text, "\n".join(alone))
        self.assertEqual(sum(len(value.split("\n")) for value in values.values()), len(fields))

    @given(st.lists(st.sampled_from(["w", " ", "\n\n", "\0", "long" * 30, " " * 300])))
    def test_a_preview_is_the_beginning_of_all_words(self, pieces: list[str]) -> None:
        text = "".join(pieces)
        words = " ".join(text[: 20 * PREVIEW_MAX].replace("\0", "").split())
        self.assertEqual(squeeze(text), words[:PREVIEW_MAX].strip())


class WellFormed(unittest.SynchronousTestCase):
    @settings(deadline=None, max_examples=60)
    @given(shape=st.lists(st.lists(BODY, min_size=1, max_size=3), min_size=1, max_size=3))
    def test_parts_agree_with_the_standard_library(self, shape: list[list[str]]) -> None:
        raw = _built(shape)
        parsed = parse(raw)
        ours = [
            ((part.type + b"/" + part.subtype).decode(), decoded(raw, parsed, part.number) or b"")
            for part in parsed.parts
            if not part.is_multipart
        ]
        self.assertEqual(ours, _leaves(email.message_from_bytes(raw)))
