"""Bounds the batches of Beam stages by bytes.

TFX reads examples in batches of up to 1000, a size that it tunes by time. A track takes over a
megabyte, so such batches would fill the memory of a small machine.
"""

from absl import flags

# Eight tracks of 30 s. musicnn's front-end needs 0.3 GiB a track.
_BATCH_BYTES = 10 * 2**20


def bound_batches_by_bytes() -> None:
    """Limits tfx-bsl to batches of 10 MiB (eight tracks), in this process."""
    from tfx_bsl.coders import batch_util

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    flags.FLAGS.tfxio_use_byte_size_batching = True  # defined by batch_util
    # tfx-bsl has no setting for how many bytes, which are 20 MiB.
    batch_util._TARGET_BATCH_BYTES_SIZE = min(batch_util._TARGET_BATCH_BYTES_SIZE, _BATCH_BYTES)
