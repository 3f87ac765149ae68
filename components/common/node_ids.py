"""Ids of the nodes that exist once for each feature or model."""

import re

# What Kubeflow Pipelines (Argo) takes; anything else is refused only when a run is created.
VALID = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,120}")


def node_id(kind: str, name: str) -> str:
    """Makes the id of a node, in the characters that every runner accepts.

    Args:
      kind: What the node is, as `Trainer`.
      name: A feature's or model's name; what is neither a letter nor a digit becomes a hyphen.

    Raises:
      ValueError: The id is longer than 121 characters, or begins with something else than a letter.

    Examples:
      >>> node_id("Transform", "log_mel")
      'Transform-log-mel'
    """
    made = f"{kind}-{re.sub(r'[^A-Za-z0-9]+', '-', name)}"
    if not VALID.fullmatch(made):
        raise ValueError(f"a node's id must match {VALID.pattern}. Received: {made!r}")
    return made
