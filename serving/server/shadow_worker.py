"""The shadow's process: `python -m serving.server.shadow_worker SOCKET MODEL VERSION PATH`.

A version that is only tried must not harm the server, whatever is wrong with it, so it runs in a
process of its own, with the lowest priority. The server starts and ends it.
"""

import contextlib
import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

_LOWEST_PRIORITY = 19


def main() -> None:
    """Loads the version, says so, and answers until the server is gone."""
    descriptor, model, version, path = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's
    os.nice(_LOWEST_PRIORITY)  # of all threads that start from here on: TensorFlow's, too
    with Connection(int(descriptor)) as connection, contextlib.suppress(EOFError, OSError):
        try:
            loaded = _load(model, int(version), path)
        except Exception as error:
            connection.send(_text(error))
            return
        connection.send("")
        while True:
            connection.send(_answer(loaded, connection.recv()))


def _load(model: str, version: int, path: str) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if path.startswith("s3://"):
        import tensorflow_io  # noqa: F401
    from serving.server.loading import LoadedVersion

    return LoadedVersion(model, version, path)


def _answer(loaded: Any, request: tuple[str, Any, Any]) -> Any:
    """Outputs by name, or a text that says what went wrong."""
    signature, inputs, outputs = request
    try:
        return loaded.run(loaded.signatures[signature], inputs, outputs)
    except Exception as error:
        return _text(error)


def _text(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no reason given'}"


if __name__ == "__main__":
    main()
