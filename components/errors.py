"""What a person did wrong, told apart from what we did wrong."""


class UserError(Exception):
    """A mistake that its maker can mend: bad input, a bad argument, a missing file.

    Its text names the file or argument and what to do. Whoever runs the pipeline prints it
    without a stack trace.
    """
