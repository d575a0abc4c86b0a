"""Mail as it is met: structure, sections, addresses, dates, text, threads."""

from datetime import UTC, date, datetime, timedelta

from twisted.trial import unittest

from sora.mime import decode, headers, parameters
from sora.mime.addresses import addresses
from sora.mime.base_subject import base_subject
from sora.mime.dates import date_time
from sora.mime.describe import describe
from sora.mime.parse import parse
from sora.mime.references import message_ids
from sora.mime.section import Kind, Section, UnknownEncoding, decoded, decoded_size, extract, header_fields
from sora.mime.structure import body_structure, string
from sora.mime.text import html_to_text
from tests.unit.mime.grammar import check_body

INNER = b"From: x@y\r\nSubject: inner\r\n\r\ninner body\r\n"
OUTER = (
    b"Subject: s\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\nignored\r\n--bb\r\n\r\none\r\n--bb \r\n"
    b"Content-Type: message/rfc822\r\n\r\n" + INNER + b"\r\n--bb\r\nContent-Type: application/x-thing\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\naGVs\r\nbG8=\r\n--bb--\r\nignored\r\n"
)


def structure(raw: bytes) -> bytes:
    text = body_structure(parse(raw), raw, True)
    check_body(text, extended=True)
    check_body(body_structure(parse(raw), raw, False), extended=False)
    return text


def section(raw: bytes, *part: int, kind: Kind = Kind.ALL, names: tuple[bytes, ...] = ()) -> bytes | None:
    return extract(raw, parse(raw), Section(part, kind, names))


class Structure(unittest.SynchronousTestCase):
    def test_a_plain_message_is_a_text_part(self) -> None:
        self.assertEqual(
            structure(b"A: b\r\n\r\nx\r\ny\r\n"), b'("text" "plain" NIL NIL NIL "7bit" 6 2 NIL NIL NIL NIL)'
        )

    def test_an_empty_multipart_shows_one_empty_part(self) -> None:
        raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\nnothing\r\n"
        self.assertTrue(structure(raw).startswith(b'(("text" "plain" NIL NIL NIL "7bit" 0 0 NIL NIL NIL NIL) "mixed"'))
        self.assertEqual(section(raw, 1), b"")

    def test_a_multipart_without_boundary_is_plain_text(self) -> None:
        self.assertTrue(structure(b"Content-Type: multipart/mixed\r\n\r\nx").startswith(b'("text" "plain" NIL'))

    def test_a_contained_message_has_envelope_body_and_lines(self) -> None:
        self.assertIn(
            b'("message" "rfc822" NIL NIL NIL "7bit" 41 (NIL "inner" ((NIL NIL "x" "y")) ((NIL NIL "x" "y")) '
            b'((NIL NIL "x" "y")) NIL NIL NIL NIL NIL) ("text" "plain" NIL NIL NIL "7bit" 12 1 NIL NIL NIL NIL) 4 ',
            structure(OUTER),
        )

    def test_delivery_status_is_a_single_part(self) -> None:
        self.assertIn(b'"delivery-status"', structure(b"Content-Type: message/delivery-status\r\n\r\nA: b\r\n"))

    def test_a_wrong_content_type_is_plain_text(self) -> None:
        for wrong in (b"text", b"/", b"", b"\xff/x", b"a b/c"):
            self.assertTrue(structure(b"Content-Type: " + wrong + b"\r\n\r\n").startswith(b'("text" "plain"'), wrong)

    def test_an_encoded_message_is_octets(self) -> None:
        raw = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA"
        self.assertTrue(structure(raw).startswith(b'("application" "octet-stream"'))

    def test_digests_contain_messages_unless_they_say_otherwise(self) -> None:
        raw = b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: x\r\n\r\ny\r\n--b--\r\n"
        self.assertIn(b'"message" "rfc822"', structure(raw))

    def test_parameters_stay_as_they_were_sent_but_for_continuations(self) -> None:
        for sent, shown in {
            b'a=b; Name="x y"': b'("a" "b" "Name" "x y")',
            b"name*=utf-8''%C3%BC; size=1": b'("name*" "utf-8\'\'%C3%BC" "size" "1")',
            b'x=1; Name*1="d e"; name*0=c; y=2': b'("x" "1" "Name" "cd e" "y" "2")',
            b'name*0*=utf-8\'\'a%20; name*1="b\\"c "; name*2*=%C3%BC': b'("name*" "utf-8\'\'a%20b%22c%20%C3%BC")',
            b"n*0=a%; n*1*=%20; n=plain": b'("n*" "\'\'a%25%20" "n" "plain")',
            b"name*10=k; name*9=j": b'("name" "jk")',
        }.items():
            self.assertIn(shown, structure(b"Content-Type: text/plain; " + sent + b"\r\n\r\n"), sent)

    def test_a_boundary_that_begins_another_does_not_end_it(self) -> None:
        raw = (
            b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/x; boundary=aa\r\n\r\n"
            b"--aa\r\n\r\n1\r\n--aa--\r\n--a\r\n\r\n2\r\n--a--\r\n"
        )
        self.assertEqual((section(raw, 1, 1), section(raw, 2)), (b"1", b"2"))

    def test_a_line_break_may_end_a_contained_header_and_belong_to_the_delimiter(self) -> None:
        raw = (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
            b"A: b\r\n\r\n--b--\r\n"
        )
        _, outer, inner = parse(raw).parts
        self.assertEqual((outer.end, inner.body_start, inner.end), (inner.end, inner.end, raw.index(b"--b--")))

    def test_strings_are_quoted_if_they_can_be(self) -> None:
        self.assertEqual(string(b'a"\\'), b'"a\\"\\\\"')
        self.assertEqual(string(b"\xc3\xa9"), b"{2}\r\n\xc3\xa9")
        self.assertEqual(string(b"a\rb\0"), b"{3}\r\na\rb")


class Sections(unittest.SynchronousTestCase):
    def test_parts_are_cut_by_number(self) -> None:
        self.assertEqual(section(OUTER, 1), b"one")
        self.assertEqual(section(OUTER, 2), INNER)
        self.assertEqual(section(OUTER, 2, 1), b"inner body\r\n")
        self.assertEqual(section(OUTER, 2, kind=Kind.HEADER), b"From: x@y\r\nSubject: inner\r\n\r\n")
        self.assertEqual(section(OUTER, 2, kind=Kind.TEXT), b"inner body\r\n")
        self.assertEqual(section(OUTER, 2, kind=Kind.MIME), b"Content-Type: message/rfc822\r\n\r\n")
        self.assertIsNone(section(OUTER, 4))
        self.assertIsNone(section(OUTER, 1, kind=Kind.TEXT))

    def test_part_one_of_a_plain_message_is_its_body(self) -> None:
        self.assertEqual(section(b"A: b\r\n\r\nx", 1), b"x")
        self.assertIsNone(section(b"A: b\r\n\r\nx", 2))

    def test_named_fields_keep_their_folding_and_end_with_an_empty_line(self) -> None:
        block = b"To: a,\r\n b\r\nSubject: s\r\nto: c\r\n\r\n"
        self.assertEqual(
            header_fields(block, Section((), Kind.HEADER_FIELDS, (b"TO",))), b"To: a,\r\n b\r\nto: c\r\n\r\n"
        )
        self.assertEqual(header_fields(block, Section((), Kind.HEADER_FIELDS_NOT, (b"To",))), b"Subject: s\r\n\r\n")
        self.assertEqual(header_fields(block, Section((), Kind.HEADER)), block)
        for kind, shown in ((Kind.HEADER, b"A: b"), (Kind.HEADER_FIELDS, b"A: b\r\n"), (Kind.HEADER_FIELDS_NOT, b"")):
            self.assertEqual(header_fields(b"A: b", Section((), kind, (b"a",))), shown)

    def test_binary_undoes_the_transfer_encoding_or_says_it_cannot(self) -> None:
        parsed = parse(OUTER)
        self.assertEqual(decoded(OUTER, parsed, (3,)), b"hello")
        self.assertEqual(decoded_size(OUTER, parsed, (3,)), 5)
        self.assertIsNone(decoded(OUTER, parsed, (9,)))
        raw = b"Content-Transfer-Encoding: x-odd\r\n\r\nx"
        self.assertRaises(UnknownEncoding, decoded, raw, parse(raw), (1,))


class Fields(unittest.SynchronousTestCase):
    def test_broken_headers_give_the_fields_they_have(self) -> None:
        block = b"From me Mon Jan 1 10:00:00 2024\nno colon\nA : b\n\tc\r\n: x\r\nB:d\0"
        self.assertEqual(headers.fields(block), [(b"a", b"b\tc"), (b"b", b"d\0")])

    def test_fragments_of_a_parameter_are_joined(self) -> None:
        _, params = parameters.split(b"a; boundary*0=x; boundary*1*=%20y; c=d")
        self.assertEqual(parameters.lookup(params, b"boundary"), b"x y")

    def test_encoded_parameters_come_with_their_charsets(self) -> None:
        _, params = parameters.split(b"a; Name*0*=utf-8'de'%C3%A9; name*1=x; plain=y; other*=%E9; only*2=z")
        self.assertEqual(
            parameters.encoded(params),
            {b"name": (b"\xc3\xa9x", b"utf-8"), b"other": (b"\xe9", b""), b"only": (b"z", b"")},
        )

    def test_addresses_are_shown_as_rfc_3501_shows_them(self) -> None:
        for value, expected in {
            b'"A \\"B\\"" <a@b>': [(b'A "B"', None, b"a", b"b")],
            b"a@b (C (D))": [(b"C (D)", None, b"a", b"b")],
            b"John Q. Public <@r1,@r2:a.b@c.d>": [(b"John Q. Public", b"@r1,@r2", b"a.b", b"c.d")],
            b"G: a@b, <c@d>;, e@f": [
                *((None, None, b"G", None), (None, None, b"a", b"b"), (None, None, b"c", b"d")),
                *((None, None, None, None), (None, None, b"e", b"f")),
            ],
            b"undisclosed-recipients:;": [(None, None, b"undisclosed-recipients", None), (None, None, None, None)],
            b"root": [(None, None, b"root", b"")],
            b'"a b"@c, , [x': [(None, None, b"a b", b"c"), (None, None, b"[x", b"")],
            b"a@[1.2.3.4]": [(None, None, b"a", b"[1.2.3.4]")],
            b"f . g @ h . i": [(None, None, b"f.g", b"h.i")],
            b"First Last first@last.org": [(b"First Last", None, b"first", b"last.org")],
            b"b@c extra words, Foo <foo bar@x y>": [(None, None, b"b", b"c"), (b"Foo", None, b"bar", b"x")],
            b'"A B" c@d (E), a@b@c': [(b"E", None, b"c", b"d"), (None, None, b"a@b", b"c")],
            b"<<d@e>>": [(None, None, b"d", b"e")],
        }.items():
            self.assertEqual(addresses(value), expected, value)

    def test_dates_keep_their_zone_and_day(self) -> None:
        moment = date_time(b"Mon, 1 Jan 2024 00:30:00 +0200 (CEST)")
        assert moment is not None
        self.assertEqual((moment.date(), moment.utcoffset()), (date(2024, 1, 1), timedelta(hours=2)))
        old = date_time(b"(x) 1 Feb 99 10:00 EST")
        assert old is not None
        self.assertEqual((old.year, old.utcoffset()), (1999, timedelta(hours=-5)))
        for garbage in (b"", b"x", b"32 Jan 2024 10:00:00 +0000", b"1 Foo 2024 10:00 GMT", b"1 Jan 0001 00:00 +2359"):
            self.assertIsNone(date_time(garbage), garbage)

    def test_what_is_no_time_or_zone_leaves_the_day(self) -> None:
        for value in (b"4 Mar 2026", b"Wed, 4 Mar 2026 25:00:00 +0100", b"4 Mar 26 10:61 -0800", b"4-Mar-2026 noon"):
            self.assertEqual(date_time(value), datetime(2026, 3, 4, tzinfo=UTC), value)
        for zone in (b"+9999", b"-2400", b"XYZ", b"(here)", b""):
            self.assertEqual(date_time(b"4 Mar 2026 23:59:60 " + zone), datetime(2026, 3, 4, 23, 59, 59, tzinfo=UTC))
        self.assertIsNone(date_time(b"4 Mar 20261"))

    def test_encoded_words_are_decoded_and_joined(self) -> None:
        self.assertEqual(decode.words(b"a =?utf-8?q?=C3?= =?UTF-8?Q?=A9_x?= b"), "a é x b")
        self.assertEqual(decode.words(b"=?iso-8859-1?b?6Q==?= =?utf-8?q?y?="), "éy")
        self.assertEqual(decode.words(b"=?odd?q?x?= =?broken"), "x =?broken")

    def test_base_subjects_lose_marks_of_replies_and_lists(self) -> None:
        for subject in ("Hello", "Re: Hello", "RE[2]: [list] fwd: Hello (fwd)", "[Fwd: Re: hello]", "[a] [b] Hello"):
            self.assertEqual(base_subject(subject), "hello", subject)
        self.assertEqual(base_subject("[only]"), "[only]")

    def test_message_ids_are_normalised(self) -> None:
        self.assertEqual(message_ids(b'<a@b> x <"c"@d> <no>'), ("a@b", "c@d"))


class Bodies(unittest.SynchronousTestCase):
    def test_broken_encodings_give_what_they_hold(self) -> None:
        self.assertEqual(decode.transfer(b"aGVsbG8", b"BASE64"), b"hello")
        self.assertEqual(decode.transfer(b"aGV*sbG8=x", b"base64")[:5], b"hello")
        self.assertEqual(decode.transfer(b"a=3D=\r\nb=", b"quoted-printable"), b"a=b")
        self.assertEqual(decode.transfer(b"begin 644 x\n#86)C\n`\nend\n", b"x-uuencode"), b"abc")

    def test_charsets_fall_back(self) -> None:
        self.assertEqual(decode.text(b"\xe9", b"nonsense"), "é")
        self.assertEqual(decode.text("é".encode(), b"punycode"), "é")
        self.assertEqual(decode.text(b"\xe9", b"latin1"), "é")
        self.assertEqual(decode.text(b"\xe9", b"hex"), "é")

    def test_html_becomes_what_a_reader_sees(self) -> None:
        page = "<p>a<b>b</b></p><STYLE>x</STYLE><div>c &amp; d</div><!-- e --><script>f</script>1 < 2"
        self.assertEqual(" ".join(html_to_text(page).split()), "ab c & d 1 < 2")

    def test_conversations_share_a_thread(self) -> None:
        first = describe(b"Message-ID: <1@x>\r\n\r\n")
        reply = describe(b"Message-ID: <2@x>\r\nIn-Reply-To: <1@x>\r\n\r\n")
        later = describe(b"Message-ID: <3@x>\r\nReferences: <1@x> <2@x>\r\n\r\n")
        self.assertEqual({first.thread, reply.thread, later.thread}, {first.thread})
        self.assertNotEqual(first.thread, describe(b"\r\nx").thread)

    def test_a_description_has_all_that_search_and_sort_ask(self) -> None:
        described = describe(
            b"From: =?utf-8?q?J=C3=96?= <Jo@X>\r\nTo: B@Y\r\nSubject: Re: =?utf-8?q?Caf=C3=A9?=\r\nX: 1\r\nX: Two\r\n"
            b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>Html\r\n"
            b"--b\r\n\r\nPlain  Text\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
            b"Subject: Deep\r\n\r\nDown\r\n--b--\r\n"
        )
        self.assertEqual((described.subject, described.base_subject), ("Re: Café", "café"))
        self.assertEqual((described.sort_from, described.display_from), ("jo", "jö"))
        self.assertEqual((described.sort_to, described.display_to, described.sort_cc), ("b", "b@y", ""))
        self.assertEqual((described.fields["x"], described.preview), ("1\ntwo", "Plain Text"))
        for word in ("html", "plain", "subject: deep", "down"):
            self.assertIn(word, described.body_text)
        self.assertTrue(described.text_complete)

    def test_text_beyond_the_bound_is_said_to_be_missing(self) -> None:
        self.assertFalse(describe(b"\r\n" + b"word " * 300_000).text_complete)
        parts = (b"\r\n--b\r\nContent-Description: " + b"d" * 1_000) * 300
        described = describe(b"Content-Type: multipart/mixed; boundary=b\r\n" + parts)
        self.assertFalse(described.text_complete)
        self.assertLess(len(described.header_text), 300_000)
