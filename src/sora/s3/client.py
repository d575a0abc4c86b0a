"""The object store on S3: what the rest of the program asks of a bucket, as S3 requests.

An object counts as stored when the answer shows its checksum, or when its length was read back.
"""

from base64 import b64encode
from collections.abc import Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed

from sora import aio
from sora.s3 import multipart, xml
from sora.s3.http import Reply
from sora.s3.requests import Mismatch, Payload, Refused, Request, Requests
from sora.s3.settings import S3Settings

DELETE_MAX: Final = 1000
"""Keys in one request to delete several."""
LIST_MAX: Final = 1000
"""Keys in one page of a listing."""
_UNSUPPORTED: Final = ("405 ", "501 ")


class S3ObjectStore:
    """Implements `store.interfaces.ObjectStore` on a bucket; `close()` it when done."""

    def __init__(self, settings: S3Settings, reactor: Any) -> None:
        self._settings = settings
        self._requests = Requests(settings, reactor)
        self._running: set[Deferred[Any]] = set()
        self._sse: dict[str, str] = {}
        if settings.sse is not None:
            self._sse["x-amz-server-side-encryption"] = settings.sse
        if settings.kms_key_id is not None:
            self._sse["x-amz-server-side-encryption-aws-kms-key-id"] = settings.kms_key_id

    @property
    def available(self) -> bool:
        """Whether requests are being sent at all (the breaker is not open)."""
        return self._requests.breaker.state.value != "open"

    def put(self, key: str, data: bytes) -> "Deferred[None]":
        """Store an object; the server confirmed checksum or length. Raises `ObjectStoreUnavailable`."""
        return self._run(self._put(key, data))

    def get(self, key: str) -> "Deferred[bytes | None]":
        """Read an object; None if there is none."""
        return self._run(self._get(key, {}, self._settings.object_max))

    def get_range(self, key: str, start: int, length: int) -> "Deferred[bytes | None]":
        """Read part of an object (shorter at its end); None if there is none."""
        if length <= 0:
            return succeed(b"")
        return self._run(self._get(key, {"Range": f"bytes={start}-{start + length - 1}"}, length))

    def size(self, key: str) -> "Deferred[int | None]":
        """Return an object's length in octets as stored, or None."""
        return self._run(self._size(key))

    def delete(self, keys: Iterable[str]) -> "Deferred[None]":
        """Delete objects; absent ones are no error."""
        return self._run(self._delete([self._settings.prefix + key for key in keys]))

    def keys(self, *, prefix: str = "", after: str = "", limit: int = 1000) -> "Deferred[list[tuple[str, int, float]]]":
        """List (key, octets as stored, modification time in epoch seconds) ascending by key."""
        return self._run(self._keys(prefix, after, limit))

    def create_bucket(self) -> "Deferred[None]":
        """Create the bucket, for first set-ups and tests; one that is there already is no error."""
        return self._run(self._create_bucket())

    @aio.deferred
    async def close(self) -> None:
        """Cancel what is in flight and close all connections."""
        for one in list(self._running):
            one.cancel()
        await self._requests.close()

    def _run(self, work: Any) -> "Deferred[Any]":
        running: Deferred[Any] = aio.start(work)
        if not running.called:
            self._running.add(running)

            def ended(result: Any) -> Any:
                self._running.discard(running)
                return result

            running.addBoth(ended)
        return running

    # ------------------------------------------------------------ writing

    async def _create_bucket(self) -> None:
        region, payload = self._settings.region, b""
        if region != "us-east-1":
            payload = xml.bucket(region)
        request = Request(
            operation="bucket", method="PUT", payload=await self._requests.payload(payload), good=(200, 409)
        )
        await self._requests.send(request)

    async def _put(self, key: str, data: bytes) -> None:
        if len(data) > self._settings.multipart_threshold:
            key_full = self._settings.prefix + key
            await multipart.put(self._requests, key_full, data, self._sse, self._settings.part_size)
            await self._confirm(key, len(data))
            return
        payload = await self._requests.payload(data)
        proved = False

        def check(reply: Reply) -> None:
            nonlocal proved
            proved = _proves(reply, payload)

        await self._requests.send(
            Request(
                operation="put",
                method="PUT",
                key=self._settings.prefix + key,
                headers={
                    "x-amz-checksum-sha256": b64encode(payload.sha256).decode("ascii"),
                    "Content-Type": "application/octet-stream",
                    **self._sse,
                },
                payload=payload,
                check=check,
            )
        )
        if not proved:
            await self._confirm(key, len(data))

    async def _confirm(self, key: str, length: int) -> None:
        stored = await self._size(key)
        if stored != length:
            raise Mismatch(f"{'nothing' if stored is None else stored} octets are stored instead of {length}")

    async def _delete(self, keys: list[str]) -> None:
        for start in range(0, len(keys), DELETE_MAX):
            batch = keys[start : start + DELETE_MAX]
            try:
                await self._delete_several(batch)
            except Refused as error:
                # Some stores know only the deletion of one.
                if not any(status in str(error) for status in _UNSUPPORTED):
                    raise
                await aio.gather([self._delete_one(key) for key in batch])

    async def _delete_several(self, keys: list[str]) -> None:
        payload = await self._requests.payload(xml.deletion(keys))

        def check(reply: Reply) -> None:
            if errors := xml.deletion_errors(reply.body):
                raise Mismatch(f"{len(errors)} objects could not be deleted, such as {errors[0]}")

        headers = {"Content-MD5": payload.md5_base64, "Content-Type": "application/xml"}
        await self._requests.send(
            Request(
                operation="delete", method="POST", query={"delete": ""}, headers=headers, payload=payload, check=check
            )
        )

    @aio.deferred
    async def _delete_one(self, key: str) -> None:
        await self._requests.send(Request(operation="delete", method="DELETE", key=key, good=(200, 204, 404)))

    # ------------------------------------------------------------ reading

    async def _get(self, key: str, headers: dict[str, str], octets_max: int) -> bytes | None:
        ranged = bool(headers)
        reply = await self._requests.send(
            Request(
                operation="range" if ranged else "get",
                method="GET",
                key=self._settings.prefix + key,
                headers=headers,
                good=(206, 200, 404, 416) if ranged else (200, 404),
                # An error's text may be longer than a short range.
                body_max=max(octets_max, xml.ANSWER_MAX),
                expected=octets_max if ranged else 0,
                check=_check_missing,
            )
        )
        if reply.status == 404:
            return None
        if reply.status == 416:
            # The range begins behind the end of an object that exists.
            return b""
        if ranged and reply.status == 200:
            raise Mismatch("the object store does not know ranges")
        return reply.body

    async def _size(self, key: str) -> int | None:
        request = Request(operation="head", method="HEAD", key=self._settings.prefix + key, good=(200, 404))
        reply = await self._requests.send(request)
        if reply.status == 404:
            return None
        length = reply.header("content-length")
        if not length.isdecimal():
            raise Mismatch("the object store does not tell an object's length")
        return int(length)

    async def _keys(self, prefix: str, after: str, limit: int) -> list[tuple[str, int, float]]:
        base = self._settings.prefix
        query = {"list-type": "2", "prefix": base + prefix, "encoding-type": "url"}
        if after:
            query["start-after"] = base + after
        found: list[tuple[str, int, float]] = []
        while len(found) < limit:
            query["max-keys"] = str(min(limit - len(found), LIST_MAX))
            reply = await self._requests.send(Request(operation="list", method="GET", query=query))
            page = xml.page(reply.body)
            found += ((key.removeprefix(base), size, when) for key, size, when in page.objects)
            if page.token is None:
                break
            query["continuation-token"] = page.token
        return found[:limit]


def _proves(reply: Reply, payload: Payload) -> bool:
    """Tell whether the answer to a PUT proves what was stored. Raises `Mismatch` if it proves the contrary."""
    checksum = reply.header("x-amz-checksum-sha256")
    if checksum and checksum != b64encode(payload.sha256).decode("ascii"):
        raise Mismatch("the server's SHA-256 is not that of what was sent")
    return multipart.check_tag(reply, payload) or bool(checksum)


def _check_missing(reply: Reply) -> None:
    """Tell a missing object from a missing bucket, which is no reason to call messages lost."""
    if reply.status == 404 and xml.error_of(reply.body)[0] == "NoSuchBucket":
        raise Refused("S3: the bucket does not exist")
