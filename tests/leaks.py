"""Where a secret stands in what was written: as it is, in part, or in a form that is common."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote

PART = 13  # characters of a key that are too many: messages quote up to 12 of what is in a wrong place
NEAR = 40  # bytes shown on either side of a leak


def leaks(written: Mapping[str, bytes], secrets: Iterable[str]) -> list[str]:
    """For each place in `written`, by its name, in which one of `secrets` stands: which form it has, and what
    is around it. Texts shorter than PART are no secrets."""
    found = []
    everything = b"\0\0".join(set(written.values()))
    for secret in sorted(set(secrets)):
        assert len(secret) >= PART, f"{secret} is too short to be looked for"
        for form, text in forms(secret):
            if text in everything:
                found += [
                    f"{name}: {secret}, {form}: {_around(content, text)!r}"
                    for name, content in written.items()
                    if text in content
                ]
    return found


def _around(content: bytes, text: bytes) -> bytes:
    at = content.index(text)
    return content[max(0, at - NEAR) : at + len(text) + NEAR]


def forms(secret: str) -> Iterator[tuple[str, bytes]]:
    """Every form, by its name. Of a part in plain so many that a beginning or an end of PART characters, and
    anything of half as many more, has one in it."""
    octets = secret.encode()
    for start in {*range(0, len(secret) - PART + 1, PART // 2), len(secret) - PART}:
        yield "in plain, or a part of it", octets[start : start + PART]
    for lead in range(3):  # where in a larger text it began decides which digits it has
        digits = base64.b64encode(bytes(lead) + octets)
        whole = digits[(lead * 8 + 5) // 6 : (lead + len(octets)) * 8 // 6]
        yield f"base64, after {lead} octets", whole
        yield f"base64 for URLs, after {lead} octets", whole.translate(bytes.maketrans(b"+/", b"-_"))
    yield "base64 in base64", base64.b64encode(base64.b64encode(octets)).rstrip(b"=")[:-1]
    yield "percent-encoded", quote(secret, safe="").encode()
    yield "percent-encoded throughout", "".join(f"%{octet:02X}" for octet in octets).encode()
    yield (
        "percent-encoded throughout, in small letters",
        "".join(f"%{octet:02x}" for octet in octets).encode(),
    )
    yield "hexadecimal", octets.hex().encode()
    yield "hexadecimal, in capitals", octets.hex().upper().encode()
    yield "hexadecimal escapes", "".join(f"\\x{octet:02x}" for octet in octets).encode()
    yield "JSON escapes", "".join(f"\\u{octet:04x}" for octet in octets).encode()
    yield "UTF-16", secret.encode("utf-16-le")
