"""Writes `saved_model.cpb`, which no public TensorFlow does: the container, and the split.

The container is riegeli's (github.com/google/riegeli, doc/riegeli_records_file_format.md), here
without compression; its hash is HighwayHash. The split is that of TensorFlow's proto splitter
(tensorflow/tools/proto_splitter), done on the wire format of protocol buffers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_MASK = (1 << 64) - 1
_KEY = struct.unpack("<4Q", b"Riegeli/records\n" * 2)
_MUL0 = (0xDBE6D5D5FE4CCE2F, 0xA4093822299F31D0, 0x13198A2E03707344, 0x243F6A8885A308D3)
_MUL1 = (0x3BD39E10CB0EF593, 0xC0ACF169B5F18A8C, 0xBE5466CF34E90C6C, 0x452821E638D01377)


def _swap(value: int) -> int:
    return value >> 32 | value << 32 & _MASK


def _zipper(v1: int, v0: int) -> tuple[int, int]:
    low = (
        ((v0 & 0xFF000000) | (v1 & 0xFF00000000)) >> 24
        | ((v0 & 0xFF0000000000) | (v1 & 0xFF000000000000)) >> 16
        | (v0 & 0xFF0000)
        | (v0 & 0xFF00) << 32
        | (v1 & 0xFF00000000000000) >> 8
        | v0 << 56 & _MASK
    )
    high = (
        ((v1 & 0xFF000000) | (v0 & 0xFF00000000)) >> 24
        | (v1 & 0xFF0000)
        | (v1 & 0xFF0000000000) >> 16
        | (v1 & 0xFF00) << 24
        | (v0 & 0xFF000000000000) >> 8
        | (v1 & 0xFF) << 48
        | (v0 & 0xFF00000000000000)
    )
    return low, high


def highway_hash(data: bytes) -> int:
    """HighwayHash, 64 bits, with riegeli's key."""
    mul0, mul1 = list(_MUL0), list(_MUL1)
    v0 = [a ^ b for a, b in zip(mul0, _KEY, strict=True)]
    v1 = [a ^ _swap(b) for a, b in zip(mul1, _KEY, strict=True)]

    def update(lanes: Sequence[int]) -> None:
        for i in range(4):
            v1[i] = (v1[i] + mul0[i] + lanes[i]) & _MASK
            mul0[i] ^= (v1[i] & 0xFFFFFFFF) * (v0[i] >> 32)
            v0[i] = (v0[i] + mul1[i]) & _MASK
            mul1[i] ^= (v0[i] & 0xFFFFFFFF) * (v1[i] >> 32)
        for source, target in ((v1, v0), (v0, v1)):
            for i in (0, 2):
                low, high = _zipper(source[i + 1], source[i])
                target[i] = (target[i] + low) & _MASK
                target[i + 1] = (target[i + 1] + high) & _MASK

    whole = len(data) - len(data) % 32
    for at in range(0, whole, 32):
        update(struct.unpack_from("<4Q", data, at))
    rest = data[whole:]
    if rest:
        size = len(rest)
        for i in range(4):
            v0[i] = (v0[i] + (size << 32) + size) & _MASK
            halves = (v1[i] & 0xFFFFFFFF, v1[i] >> 32)
            low, high = ((h << size | h >> (32 - size)) & 0xFFFFFFFF for h in halves)
            v1[i] = high << 32 | low
        packet = bytearray(32)
        words, tail = size & ~3, size & 3
        packet[:words] = rest[:words]
        if size & 16:
            packet[28:] = rest[-4:]
        elif tail:
            packet[16:19] = rest[words], rest[words + (tail >> 1)], rest[-1]
        update(struct.unpack("<4Q", packet))
    for _ in range(4):
        update([_swap(v0[i]) for i in (2, 3, 0, 1)])
    return (v0[0] + v1[0] + mul0[0] + mul1[0]) & _MASK


_BLOCK, _BLOCK_HEADER = 1 << 16, 24


def _end(begin: int, size: int) -> int:
    usable = _BLOCK - _BLOCK_HEADER
    return begin + size + (size + (begin + usable - 1) % _BLOCK) // usable * _BLOCK_HEADER


def _chunk(kind: bytes, records: Sequence[bytes]) -> bytes:
    data = b""
    if records:
        sizes = b"".join(varint(len(record)) for record in records)
        data = b"\0" + varint(len(sizes)) + sizes + b"".join(records)
    rest = struct.pack("<QQ", len(data), highway_hash(data)) + kind
    rest += len(records).to_bytes(7, "little") + struct.pack("<Q", sum(map(len, records)))
    return struct.pack("<Q", highway_hash(rest)) + rest + data


def riegeli(records: Sequence[bytes]) -> tuple[bytes, list[int]]:
    """A file of these records, and the number of each."""
    file = bytearray()
    numbers = []
    for content in (None, *records):
        chunk = _chunk(b"s", []) if content is None else _chunk(b"r", [content])
        begin, end = len(file), _end(len(file), len(chunk))
        if content is not None:
            numbers.append(begin)
        for byte_at in range(len(chunk)):
            if len(file) % _BLOCK == 0:
                header = struct.pack("<QQ", len(file) - begin, end - len(file))
                file += struct.pack("<Q", highway_hash(header)) + header
            file.append(chunk[byte_at])
        assert len(file) == end
    return bytes(file), numbers


def varint(value: int) -> bytes:
    """As protocol buffers and riegeli write a number."""
    text = bytearray()
    while value > 127:
        text.append(value & 127 | 128)
        value >>= 7
    return bytes(text) + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    """One field of a message: a number, or something with a length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(message: bytes) -> list[tuple[int, bytes]]:
    """The fields of a message in order: number, and the bytes of the whole field."""
    found = []
    at = 0

    def read() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        begin = at
        tag = read()
        if tag & 7 == 0:
            read()
        elif tag & 7 == 2:
            size = read()
            at += size
        else:
            at += 8 if tag & 7 == 1 else 4
        found.append((tag >> 3, message[begin:at]))
    return found


def take(message: bytes, number: int) -> tuple[bytes, list[bytes]]:
    """The message without the fields of that number, and their contents."""
    kept, taken = b"", []
    for found, whole in fields(message):
        if found == number:
            size = len(whole)
            # What follows the tag and the length.
            for at in range(1, size + 1):
                if field(number, whole[at:]) == whole:
                    taken.append(whole[at:])
                    break
        else:
            kept += whole
    return kept, taken


def tags(*path: int | str | list[int]) -> bytes:
    """Field tags of a ChunkedField: [number], an index, or a map key."""
    encoded = b""
    for step in path:
        if isinstance(step, list):
            encoded += field(1, field(1, step[0]))
        elif isinstance(step, int):
            encoded += field(1, field(3, step))
        else:
            encoded += field(1, field(2, field(1, step.encode())))
    return encoded


def chunked_field(path: bytes, chunk: int) -> bytes:
    """ChunkedField, as a field of ChunkedMessage."""
    return field(2, path + field(3, field(1, chunk)))


def write(chunks: Sequence[bytes], message: bytes) -> bytes:
    """A .cpb of these chunks and the ChunkedMessage that says where each goes."""
    _, numbers = riegeli(chunks)
    infos = b"".join(
        field(2, field(1, 1) + field(2, len(chunk)) + field(3, number))
        for chunk, number in zip(chunks, numbers, strict=True)
    )
    file, _ = riegeli([*chunks, infos + field(3, message)])
    return file


def split(saved_model: bytes) -> tuple[list[bytes], bytes]:
    """Chunks and ChunkedMessage of a saved_model.pb with one MetaGraph.

    As TensorFlow splits: the GraphDef, each function of its library, and what a large constant
    holds, each a chunk of its own.
    """
    outer, (meta_graph,) = take(saved_model, 2)
    meta_graph, (graph,) = take(meta_graph, 2)
    graph, (library,) = take(graph, 2)
    library, functions = take(library, 1)
    chunks = [outer + field(2, meta_graph), graph + field(2, library)]
    message = field(1, 0) + chunked_field(tags([2], 0, [2]), 1)
    for index, function in enumerate(functions):
        path: list[int | str | list[int]] = [[2], 0, [2], [2], [1], index]
        constant = None
        for node, content in enumerate(take(function, 3)[1]):
            for entry in take(content, 5)[1]:
                tensor = take(take(entry, 2)[1][0], 8)[1]
                if tensor and take(tensor[0], 4)[1]:
                    constant = (node, take(tensor[0], 4)[1][0])
        if constant is not None:
            node, content = constant
            function = _without_constant(function, node)
        message += chunked_field(tags(*path), len(chunks))
        chunks.append(function)
        if constant is not None:
            message += chunked_field(tags(*path, [3], node, [5], "value", [8], [4]), len(chunks))
            chunks.append(content)
    return chunks, message


def _without_constant(function: bytes, node: int) -> bytes:
    """The function with the tensor_content of a Const node taken out."""
    rest, nodes = take(function, 3)
    kept, attributes = take(nodes[node], 5)
    for entry in attributes:
        key, (value,) = take(entry, 2)
        value, tensors = take(value, 8)
        value += b"".join(field(8, take(tensor, 4)[0]) for tensor in tensors)
        kept += field(5, key + field(2, value))
    nodes[node] = kept
    return rest + b"".join(field(3, one) for one in nodes)
