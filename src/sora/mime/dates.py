"""The only place that reads Date fields (RFC 5322 3.3 and 4.3)."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1
    )
}
_ZONES: Final = {b"EST": -5, b"EDT": -4, b"CST": -6, b"CDT": -5, b"MST": -7, b"MDT": -6, b"PST": -8, b"PDT": -7}
_DATE: Final = re.compile(
    rb"\s*(?:[A-Za-z]{2,9}\s*,?\s*)?(\d{1,2})[\s-]+([A-Za-z]{3})[A-Za-z]{0,6}[\s-]+(\d{2,4})(?!\d)"
    rb"(?:\s+(\d{1,2})\s*:\s*(\d{1,2})(?:\s*:\s*(\d{1,2})(?:\.\d+)?)?\s*([+-]\d{4}|[A-Za-z]{1,5})?)?"
)
_COMMENT: Final = re.compile(rb"\([^()]*\)")
_DAY: Final = 24 * 60
_LENGTH_MAX: Final = 200


def date_time(value: bytes) -> datetime | None:
    """Return the moment in its own zone, whose `.date()` is the sender's day; None if it is no date.

    A zone that is none is UTC, and a time that is none is midnight there (RFC 5256 2.2).
    """
    value = value[:_LENGTH_MAX]
    if b"(" in value:
        value = _COMMENT.sub(b" ", value)
    match = _DATE.match(value)
    month = _MONTHS.get(match[2].lower()) if match else None
    if match is None or month is None:
        return None
    year = int(match[3])
    if len(match[3]) == 2:
        year += 2000 if year < 50 else 1900
    elif len(match[3]) == 3:
        year += 1900
    hour, minute, second, zone = int(match[4] or 0), int(match[5] or 0), min(int(match[6] or 0), 59), _offset(match[7])
    if hour > 23 or minute > 59:
        hour, minute, second, zone = 0, 0, 0, timedelta()
    try:
        moment = datetime(year, month, int(match[1]), hour, minute, second, tzinfo=timezone(zone))
        moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment


def _offset(zone: bytes | None) -> timedelta:
    if not zone:
        return timedelta()
    if zone[:1] in b"+-":
        minutes = int(zone[1:3]) * 60 + int(zone[3:5])
        if minutes >= _DAY:
            return timedelta()
        return timedelta(minutes=-minutes if zone[:1] == b"-" else minutes)
    return timedelta(hours=_ZONES.get(zone.upper(), 0))
