"""What can be an application key: text that fits into an HTTP header as it is."""

import re

from refresher.core.model import SecretStr

LONGEST_KEY = 8 * 1024  # bytes in its file: common HTTP servers take no longer header (nginx: 8k)
LIKE_A_KEY = 20  # characters: longer than most names, shorter than most keys
HIDDEN = "… (not shown: it may be the key itself)"

_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "UTF-8"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))
_WHITE_SPACE = b" \t\r\n\v\f"
_NOT_VISIBLE_ASCII = re.compile(rb"[^\x21-\x7e]")


def parse_key(raw: bytes) -> SecretStr:
    """The key that `raw`, the whole content of its source, holds; trailing white space does not count.

    Raises ValueError with the reason, and where it lies, when that cannot be a key. No part of the content
    is in the reason.
    """
    if len(raw) > LONGEST_KEY:
        raise ValueError(f"longer than {LONGEST_KEY} bytes")
    for mark, encoding in _BYTE_ORDER_MARKS:
        if raw.startswith(mark):
            raise ValueError(f"begins with a {encoding} byte order mark: save it as plain ASCII")
    text = raw.rstrip(_WHITE_SPACE)
    if not text:
        raise ValueError("empty" if not raw else "nothing but white space")
    if text[0] in _WHITE_SPACE:
        raise ValueError("begins with white space")
    misfit = _NOT_VISIBLE_ASCII.search(text)
    if misfit:
        raise ValueError(f"{_named(misfit[0][0])} at byte {misfit.start() + 1}; a key is visible ASCII only")
    return SecretStr(text.decode("ascii"))


def is_like_key(text: str) -> bool:
    """Whether `text`, given where a name belongs, may be a key by mistake, and is better not shown: long, of
    letters and digits, without a dot or white space."""
    return (
        len(text) >= LIKE_A_KEY
        and re.search(r"[.\s]", text) is None
        and any(map(str.isdigit, text))
        and any(map(str.isalpha, text))
    )


def _named(byte: int) -> str:
    """What sort of byte stands where none like it may."""
    if byte in b"\r\n":
        return "a line break (more than one line?)"
    if byte in b" \t":
        return "white space (more than the key itself?)"
    if byte == 0:
        return "a NUL"
    return "a control character" if byte < 0x20 or byte == 0x7F else "a character that is not ASCII"
