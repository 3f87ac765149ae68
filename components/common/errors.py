"""User errors: mistakes in input or arguments, as opposed to faults of Gatefold."""

from collections.abc import Iterator


class UserError(Exception):
    """A mistake that the user can correct: bad input, a bad argument, a missing file.

    Its text names the file or argument and what to do. Runners print it without a stack trace.

    Attributes:
      page: Content of a file with further details, or "". TFX deletes the outputs of a failed
        node, so the error carries them and the runner saves them.
      page_name: Name of that file.
    """

    def __init__(self, message: str, *, page: str = "", page_name: str = ""):
        super().__init__(message)
        self.page = page
        self.page_name = page_name


def user_error(error: BaseException | None) -> UserError | None:
    """Finds a `UserError` among an error and its causes; None if there is none."""
    return next((cause for cause in causes(error) if isinstance(cause, UserError)), None)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, the one that it was raised from, and so on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
