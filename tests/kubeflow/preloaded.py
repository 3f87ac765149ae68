"""Starts `python -m` commands as forks of a process that has imported libraries.

A process of its own, whose arguments are the modules to import: reads one JSON request a line from
standard input, and answers each with the exit code. Nothing but imports is shared between commands:
each gets a folder and an environment.
"""

import json
import os
import runpy
import sys
import traceback


def _run(request: dict) -> int:
    """The child's part."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    _, option, module, *arguments = request["command"]
    assert option == "-m", request["command"]
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else bool(end.code)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    for module in sys.argv[1:]:
        __import__(module)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            code = 1
            try:
                code = _run(request)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")


if __name__ == "__main__":
    main()
