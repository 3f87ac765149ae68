"""Converts genre names to labels, in the graph.

In `common` because both Transform's graph and the released model contain it.
"""

from collections.abc import Sequence

import tensorflow as tf


def genre_index(genre: tf.Tensor, genres: Sequence[str]) -> tf.Tensor:
    """Label of each track: the position of its genre's name.

    Names are compared instead of looked up, because a table is state that TF Serving's loader would
    have to initialise. ExampleValidator has checked that every name is known.

    Args:
      genre: string [batch], UTF-8.
      genres: Names in label order.

    Returns:
      int64 [batch].
    """
    names = tf.constant([name.encode() for name in genres])
    return tf.argmax(tf.equal(genre[:, tf.newaxis], names), axis=1)
