"""An S3 in this process that checks signatures and checksums as the real one does, and misbehaves on demand.

`faults` decides what happens to each request: a list is used up in order, a `Chaos` draws from a seed.
"""

import hashlib
import hmac
import random
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl, quote, unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from twisted.internet.defer import Deferred
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from sora import aio

ACCESS, SECRET, REGION = "AKIDEXAMPLE", "a/secret+key=", "eu-central-1"


class Fault(Enum):
    """What goes wrong with one request."""

    NONE = "none"
    UNAVAILABLE = "503 before anything is done"
    INTERNAL = "500 after everything was done"
    THROTTLED = "429"
    FORBIDDEN = "403"
    RESET = "the connection is reset before an answer"
    STALL = "no answer, ever"
    TRUNCATED = "the answer's body stops half-way"
    HALF = "the answer's body stops half-way, and the connection stays"
    WRONG_TAG = "ETag and checksum of something else, and nothing stored"
    DROPPED = "an answer without proof, and half the octets stored"


class Chaos:
    """Draws a fault with probability `rate` for each request, repeatably from `seed`."""

    def __init__(self, seed: int, rate: float, among: tuple[Fault, ...]) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._rate = rate
        self._among = among

    def __call__(self, request: Request) -> Fault:
        return self._random.choice(self._among) if self._random.random() < self._rate else Fault.NONE


def script(*faults: Fault) -> Callable[[Request], Fault]:
    """Return a source of faults that is used up in order, one a request."""
    left = list(faults)
    return lambda _: left.pop(0) if left else Fault.NONE


class Refusal(Exception):
    """An S3 error answer."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


def _sign(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _header(request: Request, name: str) -> str:
    return (request.getHeader(name.encode()) or b"").decode("latin-1").strip()


def verify(request: Request, body: bytes) -> None:
    """Check SigV4, the payload's hash, Content-MD5 and checksum; raises `Refusal`."""
    scheme, _, rest = _header(request, "authorization").partition(" ")
    fields = dict(part.strip().split("=", 1) for part in rest.split(",")) if rest else {}
    if scheme != "AWS4-HMAC-SHA256" or not {"Credential", "SignedHeaders", "Signature"} <= fields.keys():
        raise Refusal(403, "AccessDenied")
    access, day, region, service, _ = fields["Credential"].split("/")
    if (access, region, service) != (ACCESS, REGION, "s3"):
        raise Refusal(403, "InvalidAccessKeyId")
    names = fields["SignedHeaders"].split(";")
    if not {"host", "x-amz-content-sha256", "x-amz-date"} <= set(names):
        raise Refusal(403, "AccessDenied")
    path, _, query = request.uri.decode("ascii").partition("?")
    pairs = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in parse_qsl(query, keep_blank_values=True))
    payload = _header(request, "x-amz-content-sha256")
    canonical = "\n".join(
        [
            request.method.decode(),
            quote(unquote(path), safe="/-_.~"),
            "&".join(f"{k}={v}" for k, v in pairs),
            *(f"{name}:{' '.join(_header(request, name).split())}" for name in names),
            "",
            ";".join(names),
            payload,
        ]
    )
    date = _header(request, "x-amz-date")
    text = "\n".join([scheme, date, f"{day}/{region}/s3/aws4_request", hashlib.sha256(canonical.encode()).hexdigest()])
    key = _sign(_sign(_sign(_sign(b"AWS4" + SECRET.encode(), day), region), "s3"), "aws4_request")
    if not hmac.compare_digest(_sign(key, text).hex(), fields["Signature"]) or not date.startswith(day):
        raise Refusal(403, "SignatureDoesNotMatch")
    if payload != hashlib.sha256(body).hexdigest():
        raise Refusal(400, "XAmzContentSHA256Mismatch")
    md5, sha = _header(request, "content-md5"), _header(request, "x-amz-checksum-sha256")
    if md5 and md5 != b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode():
        raise Refusal(400, "BadDigest")
    if sha and sha != b64encode(hashlib.sha256(body).digest()).decode():
        raise Refusal(400, "BadDigest")


def _texts(body: bytes, tag: str) -> list[str]:
    elements = ElementTree.fromstring(body).iter()  # noqa: S314 - written by our own client
    return [element.text or "" for element in elements if element.tag.endswith(tag)]


class FakeS3(Resource):
    """One bucket, `mail`, addressed by path; `objects` holds what is stored."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.faults: Callable[[Request], Fault] = script()
        self.requests: list[tuple[str, str]] = []
        self.connections = 0
        self.echo_checksum = True

    def render(self, request: Request) -> Any:
        """Answer, or misbehave."""
        self.requests.append((request.method.decode(), request.uri.decode()))
        fault = self.faults(request)
        if fault is Fault.STALL:
            request.notifyFinish().addErrback(lambda _: None)
            return NOT_DONE_YET
        if fault is Fault.RESET:
            request.notifyFinish().addErrback(lambda _: None)
            request.transport.abortConnection()
            return NOT_DONE_YET
        body = request.content.read()
        try:
            early = {Fault.UNAVAILABLE: (503, "SlowDown"), Fault.THROTTLED: (429, "SlowDown")}
            early[Fault.FORBIDDEN] = (403, "AccessDenied")
            if fault in early:
                raise Refusal(*early[fault])
            verify(request, body)
            answer = self._answer(request, body, fault)
            if fault is Fault.INTERNAL:
                raise Refusal(500, "InternalError")
        except Refusal as refusal:
            request.setResponseCode(refusal.status)
            answer = f"<Error><Code>{refusal.code}</Code><Message>as asked</Message></Error>".encode()
        if fault in (Fault.TRUNCATED, Fault.HALF) and answer:
            request.notifyFinish().addErrback(lambda _: None)
            request.setHeader("content-length", str(len(answer)))
            request.write(answer[: len(answer) // 2])
            if fault is Fault.TRUNCATED:
                request.transport.loseConnection()
            return NOT_DONE_YET
        return b"" if request.method == b"HEAD" else answer

    def _answer(self, request: Request, body: bytes, fault: Fault) -> bytes:
        path, _, query = request.uri.decode().partition("?")
        bucket, _, key = unquote(path)[1:].partition("/")
        if bucket != "mail":
            raise Refusal(404, "NoSuchBucket")
        asked = dict(parse_qsl(query, keep_blank_values=True))
        verb = request.method.decode()
        if not key:
            return self._delete(body) if verb == "POST" else self._list(asked)
        if verb == "PUT":
            return self._put(request, key, asked, body, fault)
        if verb == "POST":
            return self._multipart(key, asked, body)
        if verb == "DELETE":
            self.uploads.pop(asked.get("uploadId", ""), None)
            if "uploadId" not in asked:
                self.objects.pop(key, None)
            request.setResponseCode(204)
            return b""
        return self._get(request, key)

    def _put(self, request: Request, key: str, asked: dict[str, str], body: bytes, fault: Fault) -> bytes:
        if fault is Fault.DROPPED:
            self.objects[key] = (body[: len(body) // 2], 0.0)
            return b""
        if fault is Fault.WRONG_TAG:
            request.setHeader("etag", f'"{"0" * 32}"')
            return b""
        if "uploadId" in asked:
            self.uploads[asked["uploadId"]][int(asked["partNumber"])] = body
        else:
            self.objects[key] = (body, datetime.now(UTC).timestamp())
            if self.echo_checksum:
                request.setHeader("x-amz-checksum-sha256", _header(request, "x-amz-checksum-sha256"))
        request.setHeader("etag", f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"')
        return b""

    def _get(self, request: Request, key: str) -> bytes:
        if key not in self.objects:
            raise Refusal(404, "NoSuchKey")
        data = self.objects[key][0]
        wanted = _header(request, "range").removeprefix("bytes=")
        if wanted:
            first, last = (int(text) for text in wanted.split("-"))
            if first >= len(data):
                raise Refusal(416, "InvalidRange")
            request.setResponseCode(206)
            data = data[first : last + 1]
        if request.method == b"HEAD":
            request.setHeader("content-length", str(len(data)))
        return data

    def _multipart(self, key: str, asked: dict[str, str], body: bytes) -> bytes:
        if "uploads" in asked:
            upload = f"upload-{len(self.requests)}"
            self.uploads[upload] = {}
            return f"<R><UploadId>{upload}</UploadId></R>".encode()
        parts = self.uploads.pop(asked["uploadId"])
        numbers = [int(text) for text in _texts(body, "PartNumber")]
        if numbers != sorted(parts):
            raise Refusal(400, "InvalidPart")
        self.objects[key] = (b"".join(parts[number] for number in numbers), datetime.now(UTC).timestamp())
        return b"<CompleteMultipartUploadResult/>"

    def _delete(self, body: bytes) -> bytes:
        for key in _texts(body, "Key"):
            self.objects.pop(key, None)
        return b"<DeleteResult/>"

    def _list(self, asked: dict[str, str]) -> bytes:
        after = max(asked.get("start-after", ""), asked.get("continuation-token", ""))
        keys = sorted(key for key in self.objects if key.startswith(asked["prefix"]) and key > after)
        page = keys[: int(asked["max-keys"])]
        entries = "".join(
            f"<Contents><Key>{escape(quote(key))}</Key><Size>{len(self.objects[key][0])}</Size>"
            f"<LastModified>{datetime.fromtimestamp(self.objects[key][1], UTC):%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
            "</Contents>"
            for key in page
        )
        more = len(keys) > len(page)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more and page else ""
        truncated = f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}<EncodingType>url</EncodingType>"
        xmlns = "http://s3.amazonaws.com/doc/2006-03-01/"
        return f'<ListBucketResult xmlns="{xmlns}">{truncated}{entries}</ListBucketResult>'.encode()


class Server:
    """A `FakeS3` that listens on loopback; `stop` leaves nothing behind.

    With `tls`, a context factory, it is to be called `localhost`.
    """

    def __init__(self, reactor: Any, *, tls: Any = None) -> None:
        self.s3 = FakeS3()
        self._channels: set[Any] = set()
        site = Site(self.s3)
        build = site.buildProtocol

        def counted(address: Any) -> Any:
            self.s3.connections += 1
            channel = build(address)
            lost = channel.connectionLost

            def forget(reason: Any) -> None:
                self._channels.discard(channel)
                lost(reason)

            channel.connectionLost = forget
            self._channels.add(channel)
            return channel

        site.buildProtocol = counted
        if tls is None:
            self._port = reactor.listenTCP(0, site, interface="127.0.0.1")
            self.endpoint = f"http://127.0.0.1:{self._port.getHost().port}"
        else:
            self._port = reactor.listenSSL(0, site, tls, interface="127.0.0.1")
            self.endpoint = f"https://localhost:{self._port.getHost().port}"

    @property
    def connected(self) -> int:
        """Connections that are open."""
        return len(self._channels)

    def hang_up(self) -> None:
        """Close every connection, as a server does that is tired of it."""
        for channel in list(self._channels):
            # The channel of a Site wraps the one that has the transport.
            channel._channel.transport.abortConnection()

    @aio.deferred
    async def stop(self) -> None:
        """Close the port and every connection."""
        stopped: Deferred[Any] | None = self._port.stopListening()
        self.hang_up()
        if stopped is not None:
            await stopped
