"""The file of a checkpoint's index: keys and values, sorted (tensorflow/core/lib/io/format.h).

The file is made of blocks, each followed by a byte for its compression and the masked CRC-32C of
both. A block holds entries, whose keys leave out what they share with the one before, and the
places where a key is complete. The footer says where the index block is, and that where the others
are. Only what TensorFlow writes for a small checkpoint is read: blocks that are not compressed.
"""

from __future__ import annotations

import struct

Entries = dict[bytes, bytes]

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _masked(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int) -> bytes:
    """A number as protocol buffers and tables write it."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _read_block(data: bytes, offset: int, size: int) -> Entries:
    if data[offset + size] != 0:
        raise ValueError("a compressed block")
    block = data[offset : offset + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    entries = {}
    key, at = b"", 0
    while at < size - 4 - 4 * restarts:
        shared, at = _read_varint(block, at)
        added, at = _read_varint(block, at)
        length, at = _read_varint(block, at)
        key = key[:shared] + block[at : at + added]
        at += added
        entries[key] = block[at : at + length]
        at += length
    return entries


def read_table(data: bytes) -> Entries:
    """All entries, in order."""
    footer = data[-_FOOTER:]
    at = 0
    for _ in range(2):  # the place of the meta index
        _, at = _read_varint(footer, at)
    offset, at = _read_varint(footer, at)
    size, at = _read_varint(footer, at)
    entries = {}
    for handle in _read_block(data, offset, size).values():
        offset, at = _read_varint(handle, 0)
        size, _ = _read_varint(handle, at)
        entries |= _read_block(data, offset, size)
    return entries


def _block(entries: Entries) -> bytes:
    out = bytearray()
    restarts = []
    for key, value in entries.items():
        restarts.append(len(out))
        out += varint(0) + varint(len(key)) + varint(len(value)) + key + value
    restarts = restarts or [0]
    return bytes(out) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def write_table(entries: Entries) -> bytes:
    """A file with these entries, sorted by key, in one block."""
    entries = dict(sorted(entries.items()))
    out = bytearray()

    def add(block: bytes) -> bytes:
        handle = varint(len(out)) + varint(len(block))
        out.extend(block + b"\0" + struct.pack("<I", _masked(_crc32c(block + b"\0"))))
        return handle

    data = add(_block(entries))
    meta_index = add(_block({}))
    index = add(_block({max(entries) + b"\xff": data}))
    return bytes(out) + (meta_index + index).ljust(_FOOTER - 8, b"\0") + struct.pack("<Q", _MAGIC)
