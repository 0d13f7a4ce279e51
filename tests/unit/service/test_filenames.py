import re
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from service.filenames import MAX_NAME_BYTES, content_disposition, result_filename, safe_filename


@given(st.text())
def test_a_safe_name_is_short_printable_and_no_path(name: str) -> None:
    safe = safe_filename(name)
    assert len(safe.encode()) <= MAX_NAME_BYTES
    assert not set(safe) & set("/\\\0\r\n")
    assert safe not in (".", "..")
    assert safe_filename(safe) == safe


@given(st.text())
def test_a_header_is_one_line_of_ascii_that_carries_the_name(name: str) -> None:
    filename = result_filename(safe_filename(name), "x4", ".png")
    header = content_disposition(filename)
    plain = re.fullmatch(r'inline; filename="([^"\\%\r\n]*)"(?:; filename\*=UTF-8\'\'(\S*))?', header)
    assert header.isascii()
    assert plain is not None
    assert filename == (unquote(plain[2]) if plain[2] else plain[1])


def test_no_slash_comes_back_through_normalisation() -> None:
    assert "/" not in content_disposition("\uff0e\uff0e\uff0fetc\uff0fx_x4.png").partition("filename*")[0]
