"""Batches of Beam stages, bounded by bytes.

TFX reads examples in batches whose size it tunes by time, up to 1000. A track is over a megabyte,
so that such a batch fills the memory of a small machine.
"""

from absl import flags


def bound_batches_by_bytes() -> None:
    """Makes tfx-bsl hand on at most 20 MiB at a time (15 tracks), in this process."""
    # Defines the flag.
    import tfx_bsl.coders.batch_util  # noqa: F401

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    flags.FLAGS.tfxio_use_byte_size_batching = True
