"""The processes that train one model together, as the environment's `TF_CONFIG` names them.

Imports no TensorFlow.
"""

import dataclasses
import json
import os

from components.common.errors import UserError

VARIABLE = "TF_CONFIG"
_TASKS = ("chief", "worker")


@dataclasses.dataclass(frozen=True)
class Workers:
    """Several workers, seen from one of them.

    Attributes:
      addresses: `host:port` of each, the chief's first.
      chief: Whether this process is the chief, who alone writes the node's outputs: the task named
        `chief` or, without one, the first worker.
    """

    addresses: tuple[str, ...]
    chief: bool


def workers() -> Workers | None:
    """The workers of `TF_CONFIG`; None if this process trains alone.

    Raises:
      UserError: `TF_CONFIG` cannot be read, or names tasks that Gatefold does not train with.
    """
    text = os.environ.get(VARIABLE, "")
    if not text.strip():
        return None
    try:
        config = json.loads(text)
        cluster: dict[str, list[str]] = config.get("cluster") or {}
        by_task = {name: list(cluster[name]) for name in sorted(cluster)}
        addresses = tuple(address for name in by_task for address in by_task[name])
        if len(addresses) <= 1:
            return None
        task, index = config["task"]["type"], int(config["task"]["index"])
        known = index in range(len(by_task[task]))
    except (ValueError, TypeError, KeyError, AttributeError):
        known = False
    if not known:
        raise UserError(
            f"{VARIABLE} must be JSON such as "
            '{"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}, '
            f"with a task of the cluster. Received: {text}"
        )
    if not set(by_task) <= set(_TASKS):
        raise UserError(
            f"{VARIABLE} may name tasks of the types {' and '.join(_TASKS)}: all workers train in "
            f"step, without parameter servers. Received: {', '.join(by_task)}"
        )
    return Workers(addresses, chief=index == 0 and task == next(iter(by_task)))


def refuse(what: str) -> None:
    """Refuses what several workers cannot do together.

    Raises:
      UserError: `TF_CONFIG` names several workers.
    """
    all_workers = workers()
    if all_workers is not None:
        raise UserError(
            f"{what} runs in one process, but {VARIABLE} names {len(all_workers.addresses)} "
            f"workers: start it without {VARIABLE}"
        )
