"""The little XML that S3 speaks: listings, deletions, multipart uploads and errors."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import unquote_plus
from xml.etree import ElementTree

import attrs

from sora.core.errors import ObjectStoreUnavailable

ANSWER_MAX: Final = 8_388_608
"""Octets of an answer that is read as XML."""

_NAMESPACE: Final = re.compile(r"\{[^}]*\}")
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"})


@attrs.frozen
class Page:
    """One page of a listing."""

    objects: list[tuple[str, int, float]]
    """(key with the bucket's prefix, octets, modification time in epoch seconds)"""
    token: str | None
    """How to ask for the next page; None: there is none."""


def _parsed(body: bytes) -> ElementTree.Element:
    # A document type is the only way to entities that grow; S3 has none.
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise ObjectStoreUnavailable("the object store's answer has a document type")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - bounded, and without entities
    except ElementTree.ParseError as error:
        raise ObjectStoreUnavailable(f"the object store's answer is no XML: {error}") from error
    for element in root.iter():
        element.tag = _NAMESPACE.sub("", element.tag)
    return root


def error_of(body: bytes) -> tuple[str, str]:
    """Return code and message of an error; empty if the body is none."""
    if body.lstrip()[:1] != b"<":
        return "", ""
    try:
        root = _parsed(body)
    except ObjectStoreUnavailable:
        return "", ""
    if root.tag != "Error":
        return "", ""
    return root.findtext("Code", ""), root.findtext("Message", "")


def page(body: bytes) -> Page:
    """Read a ListObjectsV2 answer. Raises `ObjectStoreUnavailable` if it is not one."""
    root = _parsed(body)
    if root.tag != "ListBucketResult":
        raise ObjectStoreUnavailable("the object store's answer is no listing")
    # Keys are encoded only by servers that say so.
    encoded = root.findtext("EncodingType", "") == "url"
    objects: list[tuple[str, int, float]] = []
    for entry in root.iterfind("Contents"):
        key = entry.findtext("Key", "")
        size, modified = entry.findtext("Size", "0"), entry.findtext("LastModified", "")
        try:
            when = datetime.fromisoformat(modified.replace("Z", "+00:00")).timestamp()
            objects.append((unquote_plus(key) if encoded else key, int(size), when))
        except ValueError as error:
            raise ObjectStoreUnavailable(f"the object store's listing is malformed: {error}") from error
    if root.findtext("IsTruncated", "false") != "true":
        return Page(objects, None)
    token = root.findtext("NextContinuationToken")
    if not token:
        raise ObjectStoreUnavailable("the object store's listing goes on without saying how")
    return Page(objects, token)


def bucket(region: str) -> bytes:
    """Return the request that makes a bucket in a region."""
    where = f"<LocationConstraint>{region}</LocationConstraint>"
    return f"<CreateBucketConfiguration>{where}</CreateBucketConfiguration>".encode()


def deletion(keys: Iterable[str]) -> bytes:
    """Return the request that deletes several objects."""
    names = "".join(f"<Object><Key>{key.translate(_ESCAPES)}</Key></Object>" for key in keys)
    return f'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>{names}</Delete>'.encode()


def deletion_errors(body: bytes) -> list[str]:
    """Return `code key` of each object that could not be deleted; absent ones are no error."""
    root = _parsed(body)
    # Status 200 may go out before the work is done, and an error come as the body: then nothing was deleted.
    entries = [root] if root.tag == "Error" else root.iterfind("Error")
    found = ((entry.findtext("Code", ""), entry.findtext("Key", "")) for entry in entries)
    return [f"{code} {key}" for code, key in found if code != "NoSuchKey"]


def upload_id(body: bytes) -> str:
    """Read the answer to the start of a multipart upload."""
    found = _parsed(body).findtext("UploadId")
    if not found:
        raise ObjectStoreUnavailable("the object store did not name the multipart upload")
    return found


def completion(tags: Sequence[str]) -> bytes:
    """Return the request that puts the parts of a multipart upload together."""
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{tag.translate(_ESCAPES)}</ETag></Part>"
        for number, tag in enumerate(tags, 1)
    )
    return (
        f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{parts}</CompleteMultipartUpload>'
    ).encode()
