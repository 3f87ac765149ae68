"""What a run came to: the chosen model, and whether it is in production now."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of selection and push.

    Attributes:
      chosen: The chosen model, "none" without one.
      pushed_to: The folder of the version in production, "none" if this run's model is not there.
      version: That version.
      written: Whether this run wrote it; it may have been there already.
      reason: Why a chosen model was not pushed, or "".
      kept: Whether that is because production is as good.
      production: Version in production before this run, "" if there was none or nobody looked.
    """

    chosen: str
    pushed_to: str
    version: str = ""
    written: bool = True
    reason: str = ""
    production: str = ""
    kept: bool = False

    @property
    def pushed(self) -> bool:
        """Whether the chosen model is in production."""
        return self.pushed_to != "none"

    def sentence(self) -> str:
        """Says what happened to production, in one sentence of plain text."""
        version = f", as version {self.version}" if self.version else ""
        if self.pushed and self.written:
            return f"{self.chosen} was pushed and is in production{version}."
        if self.pushed:
            return f"{self.chosen} was in production already{version}, and stays."
        keeps = "production keeps what it has"
        if self.production:
            keeps = f"production keeps version {self.production}"
        if self.chosen == "none":
            return f"Nothing was pushed: {keeps}."
        if self.kept:
            return f"{self.chosen} is {self.reason}: {keeps}."
        reason = self.reason.strip().rstrip(".") or "its push is not complete"
        return f"{self.chosen} was not pushed ({reason}): {keeps}."
