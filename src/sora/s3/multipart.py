"""Large objects in parts: begun, uploaded a few at once, completed, and aborted when anything fails."""

from collections.abc import Sequence
from typing import Final

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.logger import Logger
from twisted.python.failure import Failure

from sora import aio
from sora.s3 import xml
from sora.s3.http import Reply
from sora.s3.requests import Mismatch, Payload, Request, Requests

log = Logger()

PARTS_AT_ONCE: Final = 4
PARTS_MAX: Final = 10_000


async def put(requests: Requests, key: str, data: bytes, headers: dict[str, str], part_size: int) -> None:
    """Store `data` in parts of `part_size` octets (larger if there would be too many)."""
    begun = await requests.send(
        Request(operation="begin", method="POST", key=key, query={"uploads": ""}, headers=headers)
    )
    upload = xml.upload_id(begun.body)
    try:
        tags = await _parts(requests, key, upload, data, max(part_size, -(-len(data) // PARTS_MAX)))
        await _complete(requests, key, upload, tags)
    except BaseException:
        # Not waited for: whoever cancelled us must not wait for the network once more.
        _abort(requests, key, upload)
        raise


async def _parts(requests: Requests, key: str, upload: str, data: bytes, part_size: int) -> list[str]:
    slots = DeferredSemaphore(PARTS_AT_ONCE)

    @aio.deferred
    async def part(number: int) -> str:
        # Cut and hashed when its turn has come, so that few parts are in memory twice.
        payload = await requests.payload(data[(number - 1) * part_size : number * part_size])
        reply = await requests.send(
            Request(
                operation="part",
                method="PUT",
                key=key,
                query={"partNumber": str(number), "uploadId": upload},
                headers={"Content-MD5": payload.md5_base64},
                payload=payload,
                check=lambda reply: check_tag(reply, payload),
            )
        )
        return reply.header("etag")

    count = -(-len(data) // part_size)
    waits: Sequence[Deferred[str]] = [slots.run(part, number) for number in range(1, count + 1)]
    return await aio.gather(waits)


async def _complete(requests: Requests, key: str, upload: str, tags: Sequence[str]) -> None:
    payload = await requests.payload(xml.completion(tags))

    def check(reply: Reply) -> None:
        # The status is sent before the work is done: an error may follow it.
        code, message = xml.error_of(reply.body)
        if code:
            raise Mismatch(f"the parts could not be put together: {code} {message}")

    await requests.send(
        Request(operation="complete", method="POST", key=key, query={"uploadId": upload}, payload=payload, check=check)
    )


def _abort(requests: Requests, key: str, upload: str) -> None:
    def failed(failure: Failure) -> None:
        log.warn("a multipart upload could not be aborted: {reason}", reason=failure.getErrorMessage())

    request = Request(operation="abort", method="DELETE", key=key, query={"uploadId": upload}, good=(200, 204, 404))
    aio.start(requests.send(request)).addErrback(failed)


def check_tag(reply: Reply, payload: Payload) -> bool:
    """Tell whether the ETag proves that the octets were stored. Raises `Mismatch` if it proves the contrary.

    An ETag is the MD5 of what was sent, unless the server encrypts or says otherwise.
    """
    tag = reply.header("etag").strip('"').lower()
    if len(tag) != 32 or reply.header("x-amz-server-side-encryption") not in ("", "AES256"):
        return False
    if tag == payload.md5.hex():
        return True
    if reply.header("x-amz-server-side-encryption"):
        return False
    raise Mismatch("the ETag is not the MD5 of what was sent")
