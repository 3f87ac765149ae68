"""One JSON line for every call, and logging that never waits for a disk or a pipe."""

import dataclasses
import datetime
import json
import logging
import logging.handlers
import queue

_MOST_LINES = 2000  # that wait to be written, each under 4 KB


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
    request_bytes: int = 0
    response_bytes: int = 0

    def as_line(self) -> str:
        """The record as JSON, with the time; what is empty is left out."""
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        fields = {"time": now, **dataclasses.asdict(self)}
        fields["milliseconds"] = round(self.milliseconds, 2)
        present = {name: value for name, value in fields.items() if value not in ("", None)}
        return json.dumps(present, ensure_ascii=False)


class BackgroundHandler(logging.handlers.QueueHandler):
    """Hands log records to another handler in a thread, so that no caller waits for a disk or pipe.

    Attributes:
      lost: Records that were dropped, as too many waited or they could not be written.
    """

    def __init__(self, target: logging.StreamHandler) -> None:
        """Starts the thread.

        Args:
          target: Writes the records.
        """
        super().__init__(queue.Queue(_MOST_LINES))
        self.lost = 0
        target.handleError = self._count_lost  # type: ignore[method-assign]
        logging.handlers.QueueListener(self.queue, target).start()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Hands a record over, or drops it."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.lost += 1

    def _count_lost(self, record: logging.LogRecord) -> None:
        self.lost += 1


def open_access_log(target: str, standard_error: BackgroundHandler) -> logging.Logger:
    """The logger of calls.

    Args:
      target: "-" for standard error, a path, or "" for none. A file that is moved away (logrotate)
        is opened anew.
      standard_error: Writes to it.

    Raises:
      OSError: The file cannot be opened.
    """
    logger = logging.Logger("gatefold.access")
    if target == "-":
        logger.addHandler(standard_error)
    elif target:
        file = logging.handlers.WatchedFileHandler(
            target, encoding="utf-8", errors="backslashreplace"
        )
        logger.addHandler(BackgroundHandler(file))
    return logger
