"""Looks at the page headers of a Parquet file before Arrow does: it believes the sizes in them.

A header that says 2 GB makes Arrow allocate 2 GB before it notices that the file has no such page.
Format: https://parquet.apache.org/docs/file-format, headers in Thrift's compact protocol.
"""

from typing import Any, BinaryIO

import pyarrow.parquet as pq

MAX_PAGE_BYTES = 16 << 20
"""The largest page: ten columns of such pages are read at once. Arrow writes pages of 1 MiB."""
_MAX_HEADER_BYTES = 4096
_MAX_DEPTH = 8
_TYPE, _UNCOMPRESSED_BYTES, _COMPRESSED_BYTES = 1, 2, 3
_DATA_HEADERS = (5, 8)
"""The fields of a page header that hold the header of a data page, of version 1 and 2."""
_N_VALUES = 1

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 12


def check_pages(file: BinaryIO, metadata: pq.FileMetaData) -> None:
    """Raise ValueError with the reason unless all pages fit their column chunks and memory."""
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for column in range(metadata.num_columns):
            chunk = row_group.column(column)
            _check_chunk(file, chunk, f"column {chunk.path_in_schema} of row group {group}")


def _check_chunk(file: BinaryIO, chunk: pq.ColumnChunkMetaData, where: str) -> None:
    """Go from page to page as Arrow will."""
    starts = (chunk.dictionary_page_offset, chunk.data_page_offset)
    place = min(start for start in starts if start is not None)
    end, n_values = place + chunk.total_compressed_size, chunk.num_values
    if place < 0:
        raise ValueError(f"{where} begins at byte {place}")
    while place < end and n_values > 0:
        file.seek(place)
        header, length = _page_header(file.read(_MAX_HEADER_BYTES), where)
        place += length + header[_COMPRESSED_BYTES]
        if place > end:
            raise ValueError(f"{where} has a page that goes {place - end} bytes beyond its end")
        found = next((header[key][_N_VALUES] for key in _DATA_HEADERS if key in header), 0)
        if found > n_values:
            raise ValueError(f"{where} has a page of {found} values, {n_values} are left")
        n_values -= found


def _page_header(data: bytes, where: str) -> tuple[dict[int, Any], int]:
    """A page header whose sizes are sane, and its length in bytes."""
    try:
        header, length = _struct(data, 0, 0)
        sizes = [header[_UNCOMPRESSED_BYTES], header[_COMPRESSED_BYTES]]
        counts = [header[key][_N_VALUES] for key in _DATA_HEADERS if key in header]
        numbers = [int(number) for number in (*sizes, *counts)]
    except (IndexError, KeyError, TypeError, ValueError):
        raise ValueError(f"{where} has a page without a sound header") from None
    if min(numbers) < 0:
        raise ValueError(f"{where} has a page of negative size")
    if max(sizes) > MAX_PAGE_BYTES:
        raise ValueError(
            f"{where} has a page of {max(sizes)} bytes, more than {MAX_PAGE_BYTES}, the most"
        )
    return header, length


def _struct(data: bytes, place: int, depth: int) -> tuple[dict[int, Any], int]:
    """The fields of a structure by number, and the place behind it."""
    if depth > _MAX_DEPTH:
        raise ValueError
    fields: dict[int, Any] = {}
    number = 0
    while kind_byte := data[place]:
        place += 1
        delta, kind = kind_byte >> 4, kind_byte & 15
        if delta:
            number += delta
        else:
            number, place = _signed(data, place)
        if kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        else:
            fields[number], place = _value(data, place, kind, depth)
    return fields, place + 1


def _value(data: bytes, place: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (_I16, _I32, _I64):
        return _signed(data, place)
    if kind == _STRUCT:
        return _struct(data, place, depth + 1)
    if kind == _BINARY:
        length, place = _unsigned(data, place)
        return None, place + length
    if kind == _BYTE:
        return data[place], place + 1
    if kind == _DOUBLE:
        return None, place + 8
    raise ValueError  # page headers hold no lists, sets or maps


def _signed(data: bytes, place: int) -> tuple[int, int]:
    value, place = _unsigned(data, place)
    return value >> 1 ^ -(value & 1), place


def _unsigned(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        shift, place = shift + 7, place + 1
        if byte < 0x80:
            return value, place
