"""Proofs of the Merkle tree (RFC 9162): each true one verifies, for any tree and any two sizes, and no altered one."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.merkle import (
    EMPTY,
    Span,
    Subtree,
    Tree,
    consistency_spans,
    hash_of,
    inclusion_spans,
    is_consistent,
    is_included,
    leaf_hash,
    node_hash,
    whole_subtrees,
)

# The leaves and roots by which implementations of Certificate Transparency (RFC 6962, whose tree RFC 9162 has) compare.
LEAVES = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
SIZES = st.integers(0, 70)


def grown(size: int) -> tuple[dict[Subtree, bytes], list[bytes]]:
    """Every whole subtree of a tree of `size` leaves, and the root after each leaf."""
    tree, hashes, roots = Tree(), dict[Subtree, bytes](), [EMPTY]
    for index in range(size):
        leaf = leaf_hash(str(index).encode())
        hashes |= {Subtree(0, index): leaf, **dict(tree.append(leaf))}
        roots.append(tree.root)
    return hashes, roots


ALL, ROOT = grown(140)


def proof_of(spans: "list[Span] | tuple[Span, ...]") -> list[bytes]:
    return [hash_of(span, ALL) for span in spans]


def altered(proof: list[bytes], data: st.DataObject) -> list[bytes]:
    """Another proof: a bit changed, a hash left out, doubled or added."""
    at = data.draw(st.integers(0, max(len(proof) - 1, 0)))
    ways = [[*proof, ROOT[1]], [ROOT[1], *proof]]
    if proof:
        bit = data.draw(st.integers(0, 255))
        changed = (int.from_bytes(proof[at], "big") ^ 1 << bit).to_bytes(32, "big")
        ways += [[*proof[:at], changed, *proof[at + 1 :]], [*proof[:at], *proof[at + 1 :]], [*proof, proof[at]]]
    return data.draw(st.sampled_from(ways))


def test_roots_are_those_of_other_implementations() -> None:
    """Of no leaf to eight."""
    tree, roots = Tree(), [EMPTY.hex()]
    for leaf in LEAVES:
        tree.append(leaf_hash(bytes.fromhex(leaf)))
        roots.append(tree.root.hex())
    assert tuple(roots) == ROOTS
    assert hashlib.sha256(b"").digest() == EMPTY


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        (inclusion_spans(0, 7), [(1, 2), (2, 4), (4, 7)]),
        (inclusion_spans(3, 7), [(2, 3), (0, 2), (4, 7)]),
        (inclusion_spans(4, 7), [(5, 6), (6, 7), (0, 4)]),
        (inclusion_spans(6, 7), [(4, 6), (0, 4)]),
        (consistency_spans(3, 7), [(2, 3), (3, 4), (0, 2), (4, 7)]),
        (consistency_spans(4, 7), [(4, 7)]),
        (consistency_spans(6, 7), [(4, 6), (6, 7), (0, 4)]),
    ],
)
def test_proofs_consist_of_what_the_rfc_says(spans: list[Span], expected: list[Span]) -> None:
    """The examples of section 2.1.5, where leaves d0 to d6 are the spans of one index."""
    assert list(spans) == expected


@given(SIZES, SIZES)
def test_any_tree_begins_with_any_smaller_one(left: int, right: int) -> None:
    """And the root follows from the whole subtrees alone."""
    first, size = sorted((left, right))
    proof = proof_of(tuple(consistency_spans(first, size)) if 0 < first < size else ())
    assert is_consistent(first, ROOT[first], size, ROOT[size], proof)
    assert hash_of((0, size), {each: ALL[each] for each in whole_subtrees((0, size))}) == ROOT[size]
    assert len(proof) <= 2 * size.bit_length()


@given(st.integers(1, 70), st.data())
def test_any_leaf_is_in_its_tree(size: int, data: st.DataObject) -> None:
    """At its own index only, and as itself only."""
    index = data.draw(st.integers(0, size - 1))
    path, leaf = proof_of(tuple(inclusion_spans(index, size))), ALL[Subtree(0, index)]
    assert is_included(leaf, index, size, path, ROOT[size])
    assert not is_included(leaf_hash(b"another"), index, size, path, ROOT[size])
    other = data.draw(st.integers(-1, size + 1).filter(lambda number: number != index))
    assert not is_included(leaf, other, size, path, ROOT[size])
    assert not is_included(leaf, index, size, altered(path, data), ROOT[size])
    assert not is_included(leaf, index, size, path, ROOT[size + 1])


@given(st.integers(1, 70), st.integers(0, 70), st.data())
def test_no_altered_proof_of_growth_holds(first: int, more: int, data: st.DataObject) -> None:
    """Nor a true one for another root or size."""
    size = first + more
    proof = proof_of(tuple(consistency_spans(first, size)) if more else ())
    assert not is_consistent(first, ROOT[first], size, ROOT[size], altered(proof, data))
    assert not is_consistent(first, ROOT[first - 1], size, ROOT[size], proof)
    assert not is_consistent(first, ROOT[first], size, ROOT[size - 1], proof)
    assert not is_consistent(size + 1, ROOT[size], size, ROOT[size], proof)


@given(st.integers(2, 70), st.data())
def test_a_fork_has_no_proof(size: int, data: st.DataObject) -> None:
    """A log that differs in a leaf from an earlier one has another root, and its own hashes are no proof."""
    first = data.draw(st.integers(1, size - 1))
    changed = data.draw(st.integers(0, first - 1))
    forked, hashes = Tree(), dict[Subtree, bytes]()
    for index in range(size):
        leaf = leaf_hash(b"other" if index == changed else str(index).encode())
        hashes |= {Subtree(0, index): leaf, **dict(forked.append(leaf))}
    proof = [hash_of(span, hashes) for span in consistency_spans(first, size)]
    assert not is_consistent(first, ROOT[first], size, forked.root, proof)


@given(SIZES, SIZES)
def test_a_tree_goes_on_from_its_whole_subtrees(size: int, more: int) -> None:
    """What a store keeps is enough to add to it."""
    tree = Tree(size, [ALL[each] for each in whole_subtrees((0, size))])
    for index in range(size, size + more):
        assert all(ALL[subtree] == value for subtree, value in tree.append(ALL[Subtree(0, index)]))
    assert tree.root == ROOT[size + more]


def test_a_leaf_is_no_node() -> None:
    """The two are hashed apart, so an inner node cannot be shown as a leaf."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)
