"""S3's XML: read with care, written escaped."""

from twisted.trial import unittest

from sora.core.errors import ObjectStoreUnavailable
from sora.s3 import xml

LISTING = b"""<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<IsTruncated>true</IsTruncated><NextContinuationToken>t0</NextContinuationToken><EncodingType>url</EncodingType>
<Contents><Key>a%2Bb+c/%C3%BC</Key><Size>12</Size><LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents>
</ListBucketResult>"""


class XmlTests(unittest.SynchronousTestCase):
    """One function each."""

    def test_a_listing_is_read_with_its_keys_decoded(self) -> None:
        page = xml.page(LISTING)
        self.assertEqual(page.objects, [("a+b c/ü", 12, 1767323045.0)])
        self.assertEqual(page.token, "t0")

    def test_keys_are_not_decoded_unless_they_were_encoded(self) -> None:
        page = xml.page(LISTING.replace(b"<EncodingType>url</EncodingType>", b""))
        self.assertEqual(page.objects[0][0], "a%2Bb+c/%C3%BC")

    def test_what_is_no_listing_is_unavailable(self) -> None:
        broken = (
            b"",
            b"<ListBucketResult>",
            b"<Other/>",
            LISTING.replace(b">12<", b">x<"),
            LISTING.replace(b"2026-", b"x"),
            LISTING.replace(b"t0", b""),
            b"<!DOCTYPE a [<!ENTITY b 'c'>]><ListBucketResult>&b;</ListBucketResult>",
        )
        for body in broken:
            self.assertRaises(ObjectStoreUnavailable, xml.page, body)

    def test_errors_are_read_and_anything_else_is_none(self) -> None:
        self.assertEqual(xml.error_of(b"<Error><Code>A</Code><Message>b</Message></Error>"), ("A", "b"))
        for body in (b"", b"text", b"<html></html>", b"<Error", b"\xff\xfe"):
            self.assertEqual(xml.error_of(body), ("", ""))

    def test_keys_to_delete_are_escaped(self) -> None:
        body = xml.deletion(["a&b<c>", 'd"'])
        self.assertIn(b"<Key>a&amp;b&lt;c&gt;</Key>", body)

    def test_only_real_deletion_errors_are_reported(self) -> None:
        body = b"<DeleteResult><Error><Code>%b</Code><Key>k</Key></Error></DeleteResult>"
        self.assertEqual(xml.deletion_errors(body % b"AccessDenied"), ["AccessDenied k"])
        self.assertEqual(xml.deletion_errors(body % b"NoSuchKey"), [])

    def test_an_error_instead_of_a_result_is_no_deletion(self) -> None:
        body = b"<Error><Code>InternalError</Code><Message>sorry</Message></Error>"
        self.assertEqual(xml.deletion_errors(body), ["InternalError "])
