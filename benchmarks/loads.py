"""Loads and closes a model many times in one thread: does memory stay, and whose is it?

    python -m benchmarks.loads --model-base-path output/serving/genre [--loads 200]

Prints, as it goes, the bytes that the allocator has given out (glibc's mallinfo2) beside the
resident size, before and after the allocator is told to give back what it keeps (malloc_trim).
Bytes that are given out and grow are a leak; a resident size that grows alone is free memory that
the allocator keeps. MALLOC_ARENA_MAX in the environment changes what it keeps.
"""

import argparse
import ctypes
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

_MIB = 1 << 20
_ROWS = 10
_MALLINFO2 = (  # in their order in glibc's malloc.h, from 2.33 on
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class _Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in _MALLINFO2]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loads",
        description="Memory after many loads and closes of a model in one thread.",
    )
    parser.add_argument("--model-base-path", required=True, type=Path, metavar="DIR")
    parser.add_argument("--loads", type=int, default=200, metavar="N", help="(200)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = parse_arguments(arguments)
    from serving.server.loading import LoadedVersion
    from serving.server.version_policy import list_versions
    from serving.server.warmup import warm

    folder = max(list_versions(str(parsed.model_base_path)).items())[1]
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = _Mallinfo2
    process = psutil.Process()
    print(f"{'loads':>5} {'given out':>12} {'resident':>12} {'trimmed':>12}")
    for number in range(1, parsed.loads + 1):
        version = LoadedVersion("genre", number, folder)
        warm(version, folder)
        version.retire()
        del version
        if number == 1 or number % max(1, parsed.loads // _ROWS) == 0:
            gc.collect()
            resident = process.memory_info().rss
            libc.malloc_trim(0)
            info = libc.mallinfo2()
            sizes = (info.uordblks + info.hblkhd, resident, process.memory_info().rss)
            columns = " ".join(f"{size / _MIB:8.1f} MiB" for size in sizes)
            print(f"{number:5} {columns}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
