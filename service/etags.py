"""Entity tags: whether the caller has what it asks for already (RFC 9110, 8.8.3 and 13.1.2)."""

from hashlib import sha256


def strong_etag(digest: str) -> str:
    """Of bytes with that digest."""
    return f'"{digest}"'


def weak_etag(representation: bytes) -> str:
    """Of what says the same, though another release may say it in other bytes."""
    return f'W/"{sha256(representation).hexdigest()[:32]}"'


def has_already(if_none_match: str | None, etag: str) -> bool:
    """Whether `If-None-Match` names the tag, by the weak comparison, which is the one for that header.

    >>> has_already('"a", W/"b"', '"b"'), has_already("*", '"b"'), has_already(None, '"b"'), has_already('"a"', '"b"')
    (True, True, False, False)
    """
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag.removeprefix("W/") in tags
