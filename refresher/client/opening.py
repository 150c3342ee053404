"""Which kind of source a program means."""

import os
import re

from refresher.client.file import TokenFile
from refresher.client.listener import TokenListener
from refresher.client.source import TokenSource


def open_source(source: str | os.PathLike[str], name: str) -> TokenSource:
    """The reader for `source`: the path of a file, ``unix:/PATH`` or ``HOST:PORT``. `name`: of the token.

    Nothing is read yet. Raises ValueError for a source that is not accepted.
    """
    if isinstance(source, str):
        if "://" in source:
            raise ValueError(f"{source!r} is a URL; accepted: a file, unix:/PATH, 127.0.0.1:PORT")
        if source.startswith("unix:") or re.fullmatch(r"[^/]+:\d+", source):
            return TokenListener(source, name)
    if name:
        raise ValueError(f"a file holds one token; leave out the name {name!r}")
    return TokenFile(source)
