"""Makes named tuples of different classes unequal."""

from typing import TypeVar

Value = TypeVar("Value", bound=tuple[object, ...])


def distinct(kind: type[Value]) -> type[Value]:
    """Class decorator for a NamedTuple: its values equal only values of the same class, and have no order.

    Plain named tuples compare as tuples: ``RefreshRequested() == Stopping()`` would be True, and ``min`` of
    two values would compare their fields. The hash remains the tuple's: equal values have equal hashes, and
    values of different classes may have equal hashes too.

    >>> from typing import NamedTuple
    >>> @distinct
    ... class Metres(NamedTuple):
    ...     length: float
    >>> Metres(1.0) == Metres(1.0), Metres(1.0) == (1.0,)
    (True, False)
    """
    for name, method in _METHODS:
        setattr(kind, name, method)
    return kind


def _equal(self: tuple[object, ...], other: object) -> bool:
    return type(self) is type(other) and tuple.__eq__(self, other)


def _unequal(self: tuple[object, ...], other: object) -> bool:
    return type(self) is not type(other) or tuple.__ne__(self, other)


def _unordered(_self: object, _other: object) -> object:
    return NotImplemented


_METHODS = (
    ("__eq__", _equal),
    ("__ne__", _unequal),
    ("__lt__", _unordered),
    ("__le__", _unordered),
    ("__gt__", _unordered),
    ("__ge__", _unordered),
)
