"""Imports what `tests.warm` shares with its processes, and has the garbage collector leave it be.

They are over a million objects, which each process would look through, and copy, more than once.
"""

import gc
import importlib

from tests.warm import LIBRARIES

gc.disable()
for library in LIBRARIES:
    importlib.import_module(library)
gc.freeze()
gc.enable()
