"""Parts of a file, so that a broken download goes on where it broke (RFC 9110, 14)."""

import re

ONE_RANGE = re.compile(r"bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.IGNORECASE)


class RangeNotSatisfiableError(Exception):
    """The range begins behind the end of the file."""


def wanted_range(header: str | None, if_range: str | None, etag: str, size_bytes: int) -> range | None:
    """The bytes that a request with `Range` gets; None where it gets the whole file.

    That is where there is none, where it is no single range of bytes, and where `If-Range` names another file.
    Raises RangeNotSatisfiableError.

    >>> wanted_range("bytes=2-4", None, "", 10), wanted_range("bytes=8-", None, "", 10), wanted_range("bytes=-3", None, "", 10)
    (range(2, 5), range(8, 10), range(7, 10))
    >>> wanted_range("bytes=0-1,4-5", None, "", 10), wanted_range("bytes=0-1", '"old"', '"new"', 10)
    (None, None)
    """
    found = ONE_RANGE.fullmatch(header) if header else None
    # A date in If-Range matches nothing: results have tags. Nor does a weak tag, and ours are strong.
    if found is None or (if_range is not None and if_range != etag):
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        begin, end = max(0, size_bytes - int(last)), size_bytes
    else:
        begin, end = int(first), min(size_bytes, int(last) + 1) if last else size_bytes
        if last and int(last) < begin:
            return None  # not a range at all
    if begin >= size_bytes:
        raise RangeNotSatisfiableError
    return range(begin, end)
