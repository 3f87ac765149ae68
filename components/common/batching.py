"""Bounds the batches of Beam stages by bytes.

TFX reads examples in batches of up to 1000, a size that it tunes by time. A track takes over a
megabyte, so such batches would fill the memory of a small machine.
"""

from absl import flags


def bound_batches_by_bytes() -> None:
    """Limits tfx-bsl to batches of 20 MiB (15 tracks), in this process."""
    # Defines the flag.
    import tfx_bsl.coders.batch_util  # noqa: F401

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    flags.FLAGS.tfxio_use_byte_size_batching = True
