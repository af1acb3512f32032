"""The tree is that of RFC 9162: against its definition, and against roots that others publish."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.events import merkle

# The leaves that the implementations of Certificate Transparency test with.
LEAVES = [
    bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")
] + [bytes(range(0x60, 0x70))]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def split(count: int) -> int:
    """The largest power of two below it."""
    return 1 << (count - 1).bit_length() - 1


def defined_root(hashes: list[bytes]) -> bytes:
    if len(hashes) < 2:
        return hashes[0] if hashes else sha256(b"").digest()
    middle = split(len(hashes))
    return merkle.inner(defined_root(hashes[:middle]), defined_root(hashes[middle:]))


def defined_path(hashes: list[bytes], index: int) -> list[bytes]:
    if len(hashes) == 1:
        return []
    middle = split(len(hashes))
    if index < middle:
        return [*defined_path(hashes[:middle], index), defined_root(hashes[middle:])]
    return [*defined_path(hashes[middle:], index - middle), defined_root(hashes[:middle])]


def hashes_of(count: int) -> list[bytes]:
    return [merkle.leaf(b"%d" % number) for number in range(count)]


def test_the_roots_that_others_publish() -> None:
    tree = merkle.Tree()
    for line, root in zip(LEAVES, ROOTS, strict=True):
        tree.extend([merkle.leaf(line)])
        assert tree.root().hex() == root


def test_a_tree_of_nothing() -> None:
    assert merkle.Tree().root() == sha256(b"").digest()


@given(st.lists(st.integers(0, 9), max_size=12), st.sets(st.integers(0, 110), max_size=20))
def test_root_and_paths_are_the_defined_ones_in_whatever_pieces(
    sizes: list[int], followed: set[int]
) -> None:
    hashes = hashes_of(sum(sizes))
    tree = merkle.Tree()
    paths: dict[int, list[bytes]] = {index: [] for index in sorted(followed) if index < len(hashes)}
    start = 0
    for size in sizes:
        here = {at - start: path for at, path in paths.items() if start <= at < start + size}
        tree.extend(hashes[start : start + size], here)
        start += size
        assert tree.root() == defined_root(hashes[:start])
    assert tree.size == len(hashes)
    root = tree.root(final=True)
    assert root == defined_root(hashes)
    for index, path in paths.items():
        assert path == defined_path(hashes, index)
        assert merkle.root_above(hashes[index], index, len(hashes), path) == root


@pytest.mark.parametrize("size", range(1, 18))
def test_a_path_fits_its_leaf_and_its_place_alone(size: int) -> None:
    hashes = hashes_of(size)
    root = defined_root(hashes)
    for index in range(size):
        path = defined_path(hashes, index)
        for wrong in [path[:-1], [*path, root], path[::-1], [root, *path]]:
            if wrong != path:
                assert leads_to(hashes[index], index, size, wrong) != root
        for other in range(-1, size + 1):
            if other != index:
                assert leads_to(hashes[index], other, size, path) != root
        assert leads_to(merkle.leaf(b"another"), index, size, path) != root


def leads_to(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    try:
        return merkle.root_above(leaf, index, size, path)
    except ValueError:
        return b""
