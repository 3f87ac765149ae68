"""Temperature scaling of probabilities, and its inverse.

In `common` because trainers, the served graph's checks and the client use it; NumPy only, as the
client starts without TensorFlow. `components.trainer.release.genre_graph` has the same map as
TensorFlow operations.
"""

import numpy as np
import numpy.typing as npt

# Added before the logarithm: finite for a probability of zero, and no change of order.
EPSILON = 1e-7
# Beyond these a probability of EPSILON would leave float32, and no sensible fit does.
LOWEST, HIGHEST = 0.25, 4.0


def scaled(probabilities: npt.ArrayLike, temperature: float) -> np.ndarray:
    """Divides the logarithms by a temperature and normalises again: p^(1/T) / sum of p^(1/T).

    This is temperature scaling (Guo et al. 2017, arXiv 1706.04599) of probabilities instead of
    logits; the two differ by a constant that the normalisation removes. The order of the genres
    stays; T > 1 makes them more equal, T < 1 more different.

    Args:
      probabilities: float [..., genres]. A row of zeros, which stands for a window that does not
        count, stays so.
      temperature: T, above 0.

    Returns:
      float32 [..., genres]; rows sum to one.
    """
    values = np.asarray(probabilities, np.float64)
    if temperature == 1.0:
        return values.astype(np.float32)
    powers = np.power(values + EPSILON, 1 / temperature)
    with np.errstate(invalid="ignore"):
        normalised = powers / powers.sum(axis=-1, keepdims=True)
    return np.where(_empty(values), 0.0, normalised).astype(np.float32)


def unscaled(probabilities: npt.ArrayLike, temperature: float) -> np.ndarray:
    """Takes temperature scaling back: what `scaled` was given, within about `EPSILON`.

    Args:
      probabilities: float [..., genres], as `scaled` gave them.
      temperature: T of that scaling.

    Returns:
      float32 [..., genres]; rows sum to one, rows of zeros stay zero.
    """
    values = np.asarray(probabilities, np.float64)
    if temperature == 1.0:
        return values.astype(np.float32)
    powers = np.power(values, temperature)
    with np.errstate(invalid="ignore"):
        normalised = powers / powers.sum(axis=-1, keepdims=True)
        # What `scaled` had added to each genre.
        genres = values.shape[-1]
        without = np.maximum(normalised * (1 + genres * EPSILON) - EPSILON, 0.0)
    return np.where(_empty(values), 0.0, without).astype(np.float32)


def merged(window_probabilities: npt.ArrayLike, temperature: float) -> np.ndarray:
    """The probabilities of a sound from the scaled ones of its windows.

    A model scales the mean of its windows, and each window for itself; the mean of scaled windows
    is something else. So they are taken back, averaged, and scaled: parts of a long song that were
    answered one by one give the same as all of it at once.

    Args:
      window_probabilities: float [windows, genres], scaled, all of which count.
      temperature: T of that scaling.

    Returns:
      float32 [genres].
    """
    return scaled(unscaled(window_probabilities, temperature).mean(axis=0), temperature)


def _empty(values: np.ndarray) -> np.ndarray:
    """Rows of zeros; one that holds NaN is none."""
    return (values == 0).all(axis=-1, keepdims=True)
