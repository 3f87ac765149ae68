"""Keeps the start-up chatter of TensorFlow, Google's clients and others out of people's way."""

import os
import warnings


def before_tensorflow() -> None:
    """Sets what must be set before TensorFlow is imported.

    Not at import of this module: whoever starts a process decides.
    """
    # The log file is for what goes wrong, not for how TensorFlow was compiled.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # Google's packages announce the end of Python 3.10; docs/environment.md says why it is used.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\..*")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
