"""The only place that calls libpq beside psycopg2: statements whose parameters or answers travel as octets.

psycopg2 writes each value into the statement's text, octets as hex; the server's lexer then reads all of it, and
decodes it again. For a delivery of 30 KB that was more than half of PostgreSQL's work and a third of Python's. libpq
itself sends parameters as they are. It is reached through the very library that psycopg2 is linked to, on the
connection that psycopg2 opened; psycopg2 must not look while an answer is due, since it would take it. Where that
library cannot be reached everything travels as text, and so does a statement's first use on a connection, which
also prepares it.
"""

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from typing import Any, Final

import psycopg2
from psycopg2 import _psycopg
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure
from txpostgres.txpostgres import AlreadyPolling

from sora.postgres.adapter import Connection, Rows
from sora.postgres.statement import Parameters, Statement

_BYTEA: Final = 17
_TEXT: Final = 25
_HEAD: Final = Struct("!iiIii")
_EMPTY: Final = Struct("!iiI")
_SIZE: Final = Struct("!i")
_NULL: Final = _SIZE.pack(-1)
_TUPLES_OK: Final = 2
_COMMAND_OK: Final = 1
_SQLSTATE: Final = ord("C")
_MESSAGE: Final = ord("M")


class Column:
    """An array of octets or of text as a parameter, for the text of a statement or in binary."""

    __slots__ = ("_oid", "_values")

    def __init__(self, oid: int, values: list[bytes | None]) -> None:
        self._oid = oid
        self._values = values

    def binary(self) -> bytes:
        """Write it as the server's `array_recv` reads it."""
        values = self._values
        if not values:
            return _EMPTY.pack(0, 0, self._oid)
        size = _SIZE.pack
        pieces = [_HEAD.pack(1, None in values, self._oid, len(values), 1)]
        for value in values:
            # Not joined here already: what is long would be copied once more.
            pieces += (_NULL,) if value is None else (size(len(value)), value)
        return b"".join(pieces)

    def __conform__(self, protocol: object) -> "Column":
        """Say that psycopg2 can ask `getquoted`."""
        return self

    def getquoted(self) -> bytes:
        """Write it as a literal; with E, so that no setting changes how backslashes are read."""
        literal = b",".join([b"NULL" if value is None else self._element(value) for value in self._values])
        return b"E'{" + literal.replace(b"\\", b"\\\\").replace(b"'", b"''") + b"}'"

    def _element(self, value: bytes) -> bytes:
        if self._oid == _BYTEA:
            return b'"\\\\x' + value.hex().encode() + b'"'
        return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def octets(values: Iterable[bytes | None]) -> Column:
    """Make a `bytea[]`."""
    return Column(_BYTEA, list(values))


def texts(values: Iterable[str | None]) -> Column:
    """Make a `text[]` of what PostgreSQL can keep: no NUL, no half of a surrogate pair."""
    values = list(values)
    try:
        encoded = [None if value is None else value.encode() for value in values]
    except UnicodeEncodeError:
        encoded = [None if value is None else value.encode("utf-8", "replace") for value in values]
    return Column(
        _TEXT, [value.replace(b"\0", b"") if value is not None and b"\0" in value else value for value in encoded]
    )


class BinaryStatement(Statement):
    """A statement with parameters that are `Column`, `str` (text of any type), or None."""

    __slots__ = ()


class OctetStatement(BinaryStatement):
    """One whose columns are all `bytea`: its rows hold what `bytes` makes octets of, or None.

    They come as they are instead of in hexadecimal digits, which both sides would have to go through.
    """

    __slots__ = ()


def _load() -> Any:
    """Return libpq as psycopg2 has it, or None."""
    try:
        library = ctypes.PyDLL(_psycopg.__file__)
        library.PQsendQueryPrepared.argtypes = [
            *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)),
            *(ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int), ctypes.c_int),
        ]
        for name in ("PQconsumeInput", "PQflush", "PQisBusy", "PQgetResult", "PQerrorMessage"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
        library.PQgetlength.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
        for name in ("PQresultStatus", "PQntuples", "PQnfields", "PQclear"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
        library.PQclear.restype = None
        library.PQgetResult.restype = ctypes.c_void_p
        library.PQerrorMessage.restype = ctypes.c_char_p
        library.PQresultErrorField.argtypes = [ctypes.c_void_p, ctypes.c_int]
        library.PQresultErrorField.restype = ctypes.c_char_p
        for name in ("PQgetvalue", "PQgetisnull"):
            getattr(library, name).argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
        library.PQgetvalue.restype = ctypes.c_char_p
    except (OSError, AttributeError):
        return None
    return library


_libpq: Final = _load()


def _address_of(library: Any) -> Any:
    """Return PQgetvalue with the address for a result: octets do not end at a NUL."""
    if library is None:
        return None
    # By subscription ctypes makes another object of the same function.
    found = library["PQgetvalue"]
    found.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    found.restype = ctypes.c_void_p
    return found


_address: Final = _address_of(_libpq)


class _Answer:
    """Rows, to be asked for as a cursor is."""

    description = ()

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def fetchall(self) -> Rows:
        return self._rows


class BinaryConnection(Connection):
    """A connection that sends a `BinaryStatement`, once prepared, as libpq does."""

    library: Any = _libpq
    """None: everything travels as text."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self._asked = False
        self._in_octets = False
        self._rows: Rows = []
        self._error: Exception | None = None

    def query(self, statement: Statement | str, params: Parameters | None = None) -> "Deferred[Rows]":
        """Send a statement and return its rows; those of a binary one hold `str` or None, or octets."""
        if not isinstance(statement, BinaryStatement) or self.library is None or statement.name not in self._prepared:
            return super().query(statement, params)
        if self._busy:
            return fail(AlreadyPolling())
        waiter: Deferred[Any] = Deferred(self._abandon)
        self._busy, self._waiter, self._running, self._result = True, waiter, None, None
        self._asked, self._rows, self._error = True, [], None
        self._in_octets = isinstance(statement, OctetStatement)
        self.statements += 1
        self.asked_at = self.reactor.seconds()
        if self._send(statement.name, statement.names, params or {}):
            self._flush()
        else:
            self._lost(self._broken())
        return waiter

    def _send(self, name: str, names: Sequence[str], params: Mapping[str, Any]) -> bool:
        values: list[bytes | None] = []
        formats = []
        for one in names:
            value = params[one]
            is_column = isinstance(value, Column)
            formats.append(is_column)
            values.append(value.binary() if is_column else None if value is None else str(value).encode())
        count = len(values)
        integers = ctypes.c_int * count
        lengths = integers(*[0 if value is None else len(value) for value in values])
        pointers = (ctypes.c_char_p * count)(*values)
        pointer = self._connection.pgconn_ptr
        sent = self.library.PQsendQueryPrepared(
            *(pointer, name.encode(), count, pointers, lengths, integers(*formats), self._in_octets)
        )
        return bool(sent)

    def _flush(self) -> None:
        if self._connection is None or self._connection.closed:
            return
        left = self.library.PQflush(self._connection.pgconn_ptr)
        if left > 0:
            self.reactor.addWriter(self)
        elif left < 0:
            self._lost(self._broken())

    def _broken(self) -> Failure:
        message = self.library.PQerrorMessage(self._connection.pgconn_ptr) or b"the connection was lost"
        return Failure(psycopg2.OperationalError(message.decode("utf-8", "replace")))  # type: ignore[no-untyped-call]

    def doWrite(self) -> None:
        """Send the rest of a long statement."""
        if not self._asked:
            super().doWrite()
            return
        self.reactor.removeWriter(self)
        self._flush()

    def _step(self) -> None:
        if not self._asked:
            super()._step()
        elif not self.library.PQconsumeInput(self._connection.pgconn_ptr):
            self._lost(self._broken())
        elif self._collect():
            self._finish(None)

    def _finish(self, failure: Failure | None) -> None:
        if self._asked:
            self._asked = False
            rows, error = self._rows, self._error
            self._rows, self._error = [], None
            if failure is None and error is not None:
                failure = Failure(error)  # type: ignore[no-untyped-call]
            self._running = _Answer(rows)
        super()._finish(failure)

    def _collect(self) -> bool:
        """Read what has come; tells whether it was everything."""
        library, pointer = self.library, self._connection.pgconn_ptr
        while not library.PQisBusy(pointer):
            result = library.PQgetResult(pointer)
            if not result:
                return True
            try:
                self._take(library, result)
            finally:
                library.PQclear(result)
        return False

    def _take(self, library: Any, result: int) -> None:
        status = library.PQresultStatus(result)
        if status not in (_TUPLES_OK, _COMMAND_OK):
            self._error = _error(
                library.PQresultErrorField(result, _SQLSTATE), library.PQresultErrorField(result, _MESSAGE)
            )
            return
        read = _octets if self._in_octets else _text
        columns = range(library.PQnfields(result))
        for row in range(library.PQntuples(result)):
            self._rows.append(
                tuple(
                    None if library.PQgetisnull(result, row, column) else read(library, result, row, column)
                    for column in columns
                )
            )


def _text(library: Any, result: int, row: int, column: int) -> str:
    text: bytes = library.PQgetvalue(result, row, column)
    return text.decode()


def _octets(library: Any, result: int, row: int, column: int) -> bytes:
    return ctypes.string_at(_address(result, row, column), library.PQgetlength(result, row, column))


def _error(code: bytes | None, message: bytes | None) -> psycopg2.Error:
    """Make the error that psycopg2 would have raised; without an SQLSTATE the connection was lost."""
    text = (message or b"the connection was lost").decode("utf-8", "replace")
    if code is None:
        return psycopg2.OperationalError(text)
    state = code.decode("ascii", "replace")
    try:
        kind = psycopg2.errors.lookup(state)
    except KeyError:
        kind = psycopg2.DatabaseError
    error: psycopg2.Error = kind(text)
    # psycopg2 lets nobody set `pgcode` but a pickle that is read.
    error.__setstate__({"pgcode": state, "pgerror": text})  # type: ignore[no-untyped-call]
    return error
