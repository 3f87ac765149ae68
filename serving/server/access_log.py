"""One JSON line for every call."""

import dataclasses
import datetime
import json
import os

from serving.server.line_writer import LineWriter


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
    """Writes call records to standard error, to a file, or nowhere, without ever waiting."""

    def __init__(self, target: str, standard_error: LineWriter) -> None:
        """Opens the log.

        Args:
          target: "-" for standard error, a path to append to, or "" for none.
          standard_error: Writes to it.

        Raises:
          OSError: The file cannot be opened.
        """
        self._file: int | None = None
        self._writer: LineWriter | None = None
        if target == "-":
            self._writer = standard_error
        elif target:
            self._file = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            self._writer = LineWriter(self._file)

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return self._writer.lost if self._writer else 0

    def write(self, record: CallRecord) -> None:
        """Writes one line; what is empty is left out."""
        if self._writer is None:
            return
        fields: dict[str, object] = {
            "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        }
        for name, value in dataclasses.asdict(record).items():
            if isinstance(value, float):
                value = round(value, 2)
            if value not in ("", None):
                fields[name] = value
        self._writer.write(json.dumps(fields, ensure_ascii=False))

    def close(self) -> None:
        """Writes what is left and closes the file, if it is one and takes it."""
        if self._file is not None and self._writer is not None and self._writer.close(1.0):
            os.close(self._file)
