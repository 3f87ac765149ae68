"""One JSON line for every call."""

import dataclasses
import datetime
import json
import pathlib
import sys
import threading
from typing import TextIO


@dataclasses.dataclass
class CallRecord:
    """What is known of a call, filled in while it is answered.

    Attributes:
      protocol: "grpc" or "rest".
      method: "Predict", "GetModelStatus" …
      peer: The caller's address.
      model: The model that it names, if there is one of that name.
      version: The version that answered.
      signature: The signature that it used.
      rows: Examples in the request.
      status: Name of the status code.
      error: What was wrong.
      milliseconds: From its arrival to its answer.
      queue_milliseconds: Of these, waiting for its run.
      request_bytes: Size of the request.
      response_bytes: Size of the answer.
    """

    protocol: str
    method: str
    peer: str
    model: str = ""
    version: int | None = None
    signature: str = ""
    rows: int | None = None
    status: str = "OK"
    error: str = ""
    milliseconds: float = 0.0
    queue_milliseconds: float = 0.0
    request_bytes: int = 0
    response_bytes: int = 0


class AccessLog:
    """Writes call records to standard error, to a file, or nowhere."""

    def __init__(self, target: str) -> None:
        """Opens the log.

        Args:
          target: "-" for standard error, a path to append to, or "" for none.

        Raises:
          OSError: The file cannot be opened.
        """
        self._lock = threading.Lock()
        self._stream: TextIO | None = None
        if target == "-":
            self._stream = sys.stderr
        elif target:
            self._stream = pathlib.Path(target).open("a", encoding="utf-8")  # noqa: SIM115

    def write(self, record: CallRecord) -> None:
        """Writes one line; what is empty is left out."""
        if self._stream is None:
            return
        fields: dict[str, object] = {
            "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        }
        for name, value in dataclasses.asdict(record).items():
            if isinstance(value, float):
                value = round(value, 2)
            if value not in ("", None):
                fields[name] = value
        line = json.dumps(fields, ensure_ascii=False)
        with self._lock:
            print(line, file=self._stream, flush=True)

    def close(self) -> None:
        """Closes the file, if it is one."""
        if self._stream is not None and self._stream is not sys.stderr:
            self._stream.close()
