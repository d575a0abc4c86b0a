"""Mail that no well-behaved program writes: the corpus for "bytes out are bytes in", the same at every run."""

import base64
import random

_PIECES: tuple[bytes, ...] = (
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b".", b"\r\n.\r\n", b"..", b"\xff\xfe", b"\x80", b"=", b"=\r\n", b"a"),
    *(
        b"Subject: x\r\n",
        b"subject:\n",
        b"From: Ann <a@b.c>\r\n",
        b": no name\r\n",
        b"Folded: a\r\n b\n\tc\r\n",
        b"{3}\r\n",
    ),
    *(b"Content-Type: text/plain; charset=utf-8\r\n", b"Content-Type: multipart/mixed; boundary=b\r\n", b"--b\r\n"),
    *(b"--b--\r\n", b"--b\n", b"\r\n--b\r\n\r\n", b"Content-Type: message/rfc822\r\n\r\n", b")\r\n", b'"', b"\\"),
    *(b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n", b"aGVsbG8=\r\n"),
    *(
        b"Content-Type: multipart/digest; boundary=c\r\n\r\n--c\r\n\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b"caf=C3=A9\r\n",
        b"\xc3\xa9",
    ),
)


def odd(number: int) -> bytes:
    """Return the odd message of that number."""
    dice = random.Random(number)  # noqa: S311  for variety
    kind = number % 6
    if kind == 0:
        return b"".join(dice.choices(_PIECES, k=dice.randint(1, 30))) + b"%d" % number
    if kind == 1:
        return b"Subject: %d\r\n\r\n" % number + dice.randbytes(dice.randint(0, 400))
    if kind == 2:
        return tree(dice, number)
    if kind == 3:
        whole = tree(dice, number)
        at = dice.randrange(len(whole))
        return whole[:at] + dice.choice(_PIECES) + whole[at + dice.randint(0, 40) :] + b"%d" % number
    if kind == 4:
        return b"\n".join(
            b"X-%d: %s" % (line, dice.choice((b"y", b"\xe9", b"a\r b"))) for line in range(number % 30 + 1)
        )
    return dice.randbytes(dice.randint(1, 60)) + b"%d" % number


def tree(dice: random.Random, number: int) -> bytes:
    """Return parts within parts, with line ends, preambles, epilogues and missing ends at random."""
    end = dice.choice((b"\r\n", b"\n"))
    leaves = []
    for leaf in range(dice.randint(1, 4)):
        text = dice.randbytes(dice.randint(0, 90))
        head, body = dice.choice(
            (
                (b"Content-Transfer-Encoding: base64", base64.encodebytes(text).replace(b"\n", end)),
                (b"Content-Transfer-Encoding: 8bit", text.replace(b"--", b"")),
                (b"Content-Type: message/rfc822", b"Subject: inner" + end + end + b"%d" % leaf),
                (b"Content-Type: application/x; name=%d" % leaf, b""),
                (b"", b"no field at all"),
            )
        )
        leaves.append((head + end if head else b"") + end + body)
    inner = b"".join(b"--i" + end + leaf + end for leaf in leaves) + dice.choice((b"--i--" + end, b"", b"--i-- " + end))
    return end.join(
        (
            b"Subject: tree %d" % number,
            b'Content-Type: multipart/mixed; boundary="o"',
            b"",
            dice.choice((b"preamble", b"", b"--p")),
            b"--o",
            b"Content-Type: multipart/alternative; boundary=i",
            b"",
            inner + b"--o",
            b"",
            b"last",
            dice.choice((b"--o--", b"--o--" + end + b"epilogue", b"")),
        )
    )


def corpus(count: int) -> list[bytes]:
    """Return `count` different messages; the first ones are the emptiest there are."""
    found = dict.fromkeys((b"", b"\r\n", b"\n", b"\r", b"\0", b"x", b"a: b", b"a: b\r\n", b"a: b\n\n", b".", b".\r\n"))
    number = 0
    while len(found) < count:
        found[odd(number)] = None
        number += 1
    return list(found)[:count]
