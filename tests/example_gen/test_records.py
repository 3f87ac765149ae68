"""TFRecord files as ingest writes them."""

import struct

import google_crc32c
import tensorflow as tf

from components.example_gen import files

RECORDS = [b"", b"one", bytes(range(256)) * 5000]


def masked_crc(data):
    """The checksum of tensorflow/core/lib/io/record_writer.h."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def test_a_record_file_holds_the_bytes_of_the_format_and_nothing_else(tmp_path):
    path = tmp_path / "Split-train [1]" / "data_tfrecord-00000-of-00001"
    assert files.write_records(str(path), iter(RECORDS)) == 3
    framed = b""
    for record in RECORDS:
        length = struct.pack("<Q", len(record))
        framed += length + masked_crc(length) + record + masked_crc(record)
    assert path.read_bytes() == framed
    assert [one.numpy() for one in tf.data.TFRecordDataset(str(path))] == RECORDS
