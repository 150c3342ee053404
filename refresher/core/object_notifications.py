"""The notifications for observers about `AccessToken` objects and the watches of the API server."""

from typing import NamedTuple

from refresher.core.values import distinct


@distinct
class ObjectRefused(NamedTuple):
    """The object of a token has mistakes. The token that it demanded before, if any, is kept fresh."""

    problems: tuple[str, ...]


@distinct
class ObjectAccepted(NamedTuple):
    """The object of a token has no mistakes any more."""


@distinct
class WatchFailed(NamedTuple):
    """Objects of the API server, which `noun` names, cannot be listed or watched. What is known of them stays
    in use."""

    noun: str
    message: str


@distinct
class WatchRecovered(NamedTuple):
    """These objects are watched again."""

    noun: str


@distinct
class StatusNotWritten(NamedTuple):
    """The status of the token's object cannot be written."""

    message: str


@distinct
class StatusWritten(NamedTuple):
    """The status of the token's object was written."""


ObjectNotification = (
    ObjectRefused | ObjectAccepted | WatchFailed | WatchRecovered | StatusNotWritten | StatusWritten
)
