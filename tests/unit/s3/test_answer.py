"""An HTTP/1.1 answer is the same however it is cut, and what is not one is an error."""

from twisted.trial import unittest

from sora.s3.answer import HEAD_MAX, Answer
from sora.s3.http import NoAnswer

OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = (
    (OK + b'Content-Length: 5\r\nETag:  "x" \r\n\r\nhello', 200, b"hello", True),
    (OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
    (OK + b"Content-Length: 2\r\nConnection: Close\r\n\r\nhi", 200, b"hi", False),
    (
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nT: t\r\n\r\n",
        200,
        b"abc0123456789",
        True,
    ),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, b"", True),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 \r\n\r\n", 204, b"", True),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, b"x", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx", 200, b"x", True),
    (b"HTTP/1.1 503 Slow Down\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nnow", 503, b"now", True),
)
MALFORMED = (
    b"SSH-2.0-x\r\n\r\n",
    b"HTTP/2 200\r\n\r\n",
    OK + b"no colon\r\n\r\n",
    OK + b"Name : x\r\n\r\n",
    OK + b"Content-Length: -1\r\n\r\n",
    OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    OK + b"Transfer-Encoding: gzip\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n",
    OK + b"X: " + b"x" * HEAD_MAX + b"\r\n\r\n",
    OK + b"X: " + b"x" * HEAD_MAX,
)


def fed(data: bytes, cuts: tuple[int, ...] = (), *, bodyless: bool = False, body_max: int = 100) -> Answer:
    answer = Answer(bodyless=bodyless, body_max=body_max)
    complete = False
    for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        assert not complete
        complete = answer.feed(data[start:end])
    assert complete
    return answer


class AnswerTests(unittest.SynchronousTestCase):
    """`Answer` on whole, cut and broken answers."""

    def test_an_answer_is_the_same_in_any_pieces(self) -> None:
        for data, status, body, reusable in WHOLE:
            for cuts in ((), tuple(range(1, len(data))), *((at,) for at in range(1, len(data)))):
                answer = fed(data, cuts)
                self.assertEqual((answer.status, answer.reply.body, answer.reusable), (status, body, reusable), data)

    def test_a_header_is_found_in_any_case_without_the_blanks_around_it(self) -> None:
        self.assertEqual(fed(WHOLE[0][0]).reply.header("etag"), '"x"')
        self.assertEqual(fed(WHOLE[0][0]).reply.header("absent"), "")

    def test_what_is_no_answer_is_an_error_in_any_pieces(self) -> None:
        for data in MALFORMED:
            for piece in (len(data), 7):
                answer = Answer(bodyless=False, body_max=100)
                with self.assertRaises(NoAnswer):
                    for start in range(0, len(data), piece):
                        answer.feed(data[start : start + piece])

    def test_an_answer_to_head_has_no_body(self) -> None:
        answer = fed(OK + b"Content-Length: 5000\r\n\r\n", bodyless=True)
        self.assertEqual((answer.reply.body, answer.reply.header("content-length")), (b"", "5000"))

    def test_a_body_larger_than_allowed_is_an_error(self) -> None:
        for framing in (b"Content-Length: 101", b"Transfer-Encoding: chunked", b"X: y"):
            chunk = b"65\r\n" if b"chunked" in framing else b""
            with self.assertRaises(NoAnswer):
                Answer(bodyless=False, body_max=100).feed(OK + framing + b"\r\n\r\n" + chunk + b"x" * 101)

    def test_an_object_never_ends_with_the_connection_but_an_errors_text_may(self) -> None:
        for head, complete in ((OK + b"\r\n", False), (b"HTTP/1.1 500 x\r\n\r\n", True)):
            answer = Answer(bodyless=False, body_max=100)
            self.assertFalse(answer.feed(head + b"text"))
            self.assertEqual((answer.ended(), answer.reply.body), (complete, b"text"))
        cut = Answer(bodyless=False, body_max=100)
        self.assertFalse(cut.feed(b"HTTP/1.1 500 x\r\nContent-Length: 9\r\n\r\ntext"))
        self.assertFalse(cut.ended())

    def test_a_connection_that_says_more_than_was_asked_is_not_used_again(self) -> None:
        self.assertFalse(fed(WHOLE[0][0] + b"HTTP/1.1 200 OK\r\n").reusable)
