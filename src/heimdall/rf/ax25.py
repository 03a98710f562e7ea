"""AX.25 frames as APRS sends them: addresses, check sequence, bit stuffing, NRZI, scrambler.

References
----------
AX.25 Link Access Protocol 2.2 (TAPR, 1998), sections 3.1 to 3.11; APRS Protocol Reference 1.0.1. G3RUH scrambler: Miller,
"9600 baud packet radio modem design", ARRL 7th Computer Networking Conference, 1988.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.uint8]

_FLAG: Final = np.array([0, 1, 1, 1, 1, 1, 1, 0], np.uint8)
_CONTROL_UI: Final = 0x03
_NO_LAYER_3: Final = 0xF0
_CRC_POLYNOMIAL: Final = 0x8408


def encode_ui_frame(source: str, destination: str, information: str) -> Bits:
    """Return the bits of an unnumbered frame between its flags, least significant first, check sequence included.

    Parameters
    ----------
    source, destination
        Call signs of at most six letters and digits.
    information
        Latin-1 text.
    """
    header = _encode_address(destination, is_last=False) + _encode_address(source, is_last=True)
    body = header + bytes([_CONTROL_UI, _NO_LAYER_3]) + information.encode("latin-1", "replace")
    check = crc_x25(body)
    octets = np.frombuffer(body + check.to_bytes(2, "little"), np.uint8)
    return np.unpackbits(octets, bitorder="little")


def crc_x25(content: bytes) -> int:
    """Return the frame check sequence (ISO 3309): 0x906E of ``b"123456789"``."""
    register = 0xFFFF
    for octet in content:
        register ^= octet
        for _ in range(8):
            register = (register >> 1) ^ (_CRC_POLYNOMIAL if register & 1 else 0)
    return register ^ 0xFFFF


def stuff_nrzi(frame: Bits, *, num_flags: int, num_levels: int, is_line_coded: bool = True) -> Bits:
    """Return line levels: flags, stuffed frame, flags, and so on; NRZI (a zero changes the level) where asked for."""
    period = np.concatenate([np.tile(_FLAG, num_flags), _stuff(frame)])
    bits = np.resize(period, num_levels)
    if not is_line_coded:
        return bits
    return np.asarray(1 - (np.cumsum(bits == 0) % 2), np.uint8)


def scramble_g3ruh(bits: Bits) -> Bits:
    """Return NRZI-coded bits through the scrambler ``x^17 + x^12 + 1``."""
    coded = 1 - (np.cumsum(bits == 0) % 2)
    register = 0
    result = np.empty(len(coded), np.uint8)
    for index, bit in enumerate(coded.tolist()):
        out = bit ^ (register >> 11 & 1) ^ (register >> 16 & 1)
        register = (register << 1 | out) & 0x1FFFF
        result[index] = out
    return result


def _encode_address(call: str, *, is_last: bool) -> bytes:
    letters = bytes(ord(letter) << 1 for letter in call.upper().ljust(6)[:6])
    return letters + bytes([0x60 | is_last])


def _stuff(bits: Bits) -> Bits:
    """Put a zero after five ones."""
    result: list[int] = []
    ones = 0
    for bit in bits.tolist():
        result.append(bit)
        ones = ones + 1 if bit else 0
        if ones == 5:
            result.append(0)
            ones = 0
    return np.array(result, np.uint8)
