"""Segments that are not what they say."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from allocsim.experiment.segments import SCHEMA, Segment, encode_table

TWO_GIB = b"\xfe\xff\xff\xff\x0f"
"""2**31 - 1 in Thrift's words."""


def test_a_page_header_that_lies_is_seen_before_the_page_is_read(tmp_path):
    defaults = {pa.string(): "x", pa.float64(): 0.0, pa.int64(): 0}
    row = {field.name: defaults.get(field.type, []) for field in SCHEMA}
    content = bytearray(encode_table(pa.Table.from_pylist([row] * 100, SCHEMA)))
    path = tmp_path / "segment.parquet"
    path.write_bytes(content)
    Segment(path)
    place = pq.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    header = b"\x15\0\x15\x10\x15" + TWO_GIB + b"\x2c\x15\x02\x15\0\x15\x06\x15\x06\0\0"
    content[place : place + len(header)] = header
    path.write_bytes(content)
    with pytest.raises(ValueError, match="has a page of 2147483647 bytes, more than 16777216"):
        Segment(path)
