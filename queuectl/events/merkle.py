"""The hash tree over the lines of a log, as in RFC 9162, and the way from one line to its root.

Who knows the root can be shown that a line is among those it stands for, with nothing but some
twenty hashes. Knows lines as bytes only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import count
from typing import NamedTuple

Path = list[bytes]
"""The hashes beside the way from a leaf up to the root."""


def leaf(body: bytes) -> bytes:
    """The hash of one line, from its body: what its crc covers."""
    return sha256(b"\0" + body).digest()


def inner(left: bytes, right: bytes) -> bytes:
    """The hash of two that stand beside each other."""
    return sha256(b"\1" + left + right).digest()


class _Node(NamedTuple):
    hash: bytes
    paths: list[Path]
    """Of the leaves below it that are followed: each goes on with what this one is joined to."""


class Tree:
    """A tree that grows to the right; holds one hash a level."""

    def __init__(self) -> None:
        self.size = 0
        """How many leaves it has."""
        self._edge: list[_Node | None] = []
        """By level, from the leaves up, the node that has no neighbour yet."""

    def extend(self, leaves: Sequence[bytes], followed: Mapping[int, Path] | None = None) -> None:
        """Add leaves; `followed` gives some of them, by their place among these, a path to fill."""
        self.size += len(leaves)
        nodes = list(leaves)
        paths = {index: [path] for index, path in (followed or {}).items()}
        for level in count():
            if not nodes:
                return
            if level == len(self._edge):
                self._edge.append(None)
            edge = self._edge[level]
            if edge is not None:
                nodes.insert(0, edge.hash)
                paths = {0: edge.paths, **{index + 1: some for index, some in paths.items()}}
            self._edge[level] = None
            if len(nodes) % 2:
                self._edge[level] = _Node(nodes.pop(), paths.pop(len(nodes), []))
            above: dict[int, list[Path]] = {}
            for index, some in paths.items():
                _go_on(some, nodes[index ^ 1])
                above.setdefault(index // 2, []).extend(some)
            nodes = [inner(*pair) for pair in zip(nodes[::2], nodes[1::2], strict=True)]
            paths = above

    def root(self, *, final: bool = False) -> bytes:
        """The hash that stands for all leaves so far.

        `final` also leads every path up to it; then nothing may be added any more.
        """
        right: _Node | None = None
        for edge in self._edge:
            if edge is None:
                continue
            if right is None:
                right = edge
                continue
            if final:
                _go_on(edge.paths, right.hash)
                _go_on(right.paths, edge.hash)
            right = _Node(inner(edge.hash, right.hash), edge.paths + right.paths)
        return right.hash if right is not None else sha256().digest()


def _go_on(paths: Iterable[Path], beside: bytes) -> None:
    for path in paths:
        path.append(beside)


def root_above(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root of a tree of `size` leaves that has `leaf` at `index`, from the path between them.

    Raises `ValueError` where there is no such path in a tree of that size.
    """
    if not 0 <= index < size:
        raise ValueError("there is no such leaf")
    found, last = leaf, size - 1
    for beside in path:
        if not last:
            raise ValueError("the path is too long")
        # The last node of a level may have no neighbour, and goes up as it is.
        while index == last and not index % 2:
            index, last = index // 2, last // 2
        found = inner(beside, found) if index % 2 else inner(found, beside)
        index, last = index // 2, last // 2
    while last and index == last and not index % 2:
        index, last = index // 2, last // 2
    if last:
        raise ValueError("the path is too short")
    return found
