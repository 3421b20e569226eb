"""Bech32 (BIP 173) without its length limit: how age writes recipients and identities."""

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM = 6  # characters


def encode(prefix: str, data: bytes) -> str:
    """`data` under a lower-case human-readable `prefix`, in lower case."""
    values = _regroup(data, 8, 5, pad=True)
    check = _polymod([*_expanded(prefix), *values, *[0] * _CHECKSUM]) ^ 1
    tail = [(check >> 5 * (_CHECKSUM - 1 - place)) & 31 for place in range(_CHECKSUM)]
    return prefix + "1" + "".join(_ALPHABET[value] for value in [*values, *tail])


def decode(text: str) -> tuple[str, bytes]:
    """The lower-case prefix and the data; raises `ValueError` on mixed case, a wrong character or a wrong checksum."""
    if text not in {text.lower(), text.upper()} or not text.isascii():
        raise ValueError("mixed case")
    prefix, _, rest = text.lower().rpartition("1")
    if not prefix or len(rest) < _CHECKSUM or not set(rest) <= _VALUES.keys():
        raise ValueError("not Bech32")
    values = [_VALUES[character] for character in rest]
    if _polymod([*_expanded(prefix), *values]) != 1:
        raise ValueError("wrong checksum")
    return prefix, bytes(_regroup(values[:-_CHECKSUM], 5, 8, pad=False))


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATORS):
            if top >> bit & 1:
                check ^= generator
    return check


def _expanded(prefix: str) -> list[int]:
    codes = prefix.encode()
    return [code >> 5 for code in codes] + [0] + [code & 31 for code in codes]


def _regroup(values: bytes | list[int], old: int, new: int, *, pad: bool) -> list[int]:
    """Turn groups of `old` bits into groups of `new`; without `pad`, left-over bits must be few and zero."""
    pending, bits, result = 0, 0, []
    for value in values:
        pending, bits = pending << old | value, bits + old
        while bits >= new:
            bits -= new
            result.append(pending >> bits)
            pending &= (1 << bits) - 1
    if pad and bits:
        result.append(pending << new - bits)
    elif bits >= old or pending:
        raise ValueError("left-over bits")
    return result
