"""A checker of ENVELOPE and BODYSTRUCTURE against the grammar of RFC 3501 9; bounded recursion."""


class Ungrammatical(Exception):
    """The text is not what the grammar allows."""


class Reader:
    """Reads one value after another from wire text."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.at = 0

    def expect(self, token: bytes) -> None:
        if not self.text.startswith(token, self.at):
            raise Ungrammatical(f"expected {token!r} at {self.text[self.at : self.at + 40]!r}")
        self.at += len(token)

    def sees(self, token: bytes) -> bool:
        return self.text.startswith(token, self.at)

    def number(self) -> int:
        start = self.at
        while self.text[self.at : self.at + 1].isdigit():
            self.at += 1
        if start == self.at:
            raise Ungrammatical(f"no number at {self.text[start : start + 40]!r}")
        return int(self.text[start : self.at])

    def string(self) -> bytes:
        if self.sees(b"{"):
            self.expect(b"{")
            size = self.number()
            self.expect(b"}\r\n")
            value = self.text[self.at : self.at + size]
            if len(value) != size or b"\0" in value:
                raise Ungrammatical("bad literal")
            self.at += size
            return value
        self.expect(b'"')
        value = bytearray()
        while True:
            octet = self.text[self.at : self.at + 1]
            self.at += 1
            if octet == b'"':
                return bytes(value)
            if octet == b"\\":
                octet = self.text[self.at : self.at + 1]
                self.at += 1
                if octet not in (b'"', b"\\"):
                    raise Ungrammatical("bad escape")
            if octet in (b"", b"\r", b"\n", b"\0") or octet > b"\x7f":
                raise Ungrammatical(f"octet {octet!r} in a quoted string")
            value += octet

    def nstring(self) -> bytes | None:
        if self.sees(b"NIL"):
            self.expect(b"NIL")
            return None
        return self.string()

    def envelope(self) -> None:
        self.expect(b"(")
        for place in range(10):
            if place:
                self.expect(b" ")
            if 2 <= place <= 7:
                self.addresses()
            else:
                self.nstring()
        self.expect(b")")

    def addresses(self) -> None:
        if self.sees(b"NIL"):
            self.expect(b"NIL")
            return
        self.expect(b"((")
        while True:
            for place in range(4):
                if place:
                    self.expect(b" ")
                self.nstring()
            self.expect(b")")
            if not self.sees(b"("):
                break
            self.expect(b"(")
        self.expect(b")")

    def strings(self) -> int:
        """Read NIL or a parenthesized list; returns how many strings it has."""
        if self.sees(b"NIL"):
            self.expect(b"NIL")
            return 0
        self.expect(b"(")
        count = 1
        self.string()
        while self.sees(b" "):
            self.expect(b" ")
            self.string()
            count += 1
        self.expect(b")")
        return count

    def params(self) -> None:
        if self.strings() % 2:
            raise Ungrammatical("a parameter without a value")

    def extension(self) -> None:
        self.expect(b" ")
        if self.sees(b"("):
            self.expect(b"(")
            self.string()
            self.expect(b" ")
            self.params()
            self.expect(b")")
        else:
            self.expect(b"NIL")
        self.expect(b" ")
        self.strings()
        self.expect(b" ")
        self.nstring()

    def body(self, *, extended: bool) -> None:
        self.expect(b"(")
        if self.sees(b"("):
            while self.sees(b"("):
                self.body(extended=extended)
            self.expect(b" ")
            self.string()
            if extended:
                self.expect(b" ")
                self.params()
                self.extension()
        else:
            self.single(extended=extended)
        self.expect(b")")

    def single(self, *, extended: bool) -> None:
        major = self.string().lower()
        self.expect(b" ")
        minor = self.string().lower()
        self.expect(b" ")
        self.params()
        for read in (self.nstring, self.nstring, self.string, self.number):
            self.expect(b" ")
            read()
        if major == b"multipart":
            raise Ungrammatical("a multipart without parts")
        if major == b"message" and minor in (b"rfc822", b"global"):
            self.expect(b" ")
            self.envelope()
            self.expect(b" ")
            self.body(extended=extended)
        if major == b"text" or (major == b"message" and minor in (b"rfc822", b"global")):
            self.expect(b" ")
            self.number()
        if extended:
            self.expect(b" ")
            self.nstring()
            self.extension()

    def end(self) -> None:
        if self.at != len(self.text):
            raise Ungrammatical(f"left over: {self.text[self.at :][:40]!r}")


def check_envelope(text: bytes) -> None:
    """Raise `Ungrammatical` unless the text is an envelope."""
    reader = Reader(text)
    reader.envelope()
    reader.end()


def check_body(text: bytes, *, extended: bool) -> None:
    """Raise `Ungrammatical` unless the text is a body structure."""
    reader = Reader(text)
    reader.body(extended=extended)
    reader.end()
