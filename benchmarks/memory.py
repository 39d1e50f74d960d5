"""The memory of this process."""

from __future__ import annotations

from pathlib import Path

_FILES = {"status": ("VmRSS", "VmHWM"), "smaps_rollup": ("Pss",)}


def memory() -> dict[str, int]:
    """Bytes now resident (VmRSS), at most so far (VmHWM), and shared in proportion (Pss).

    Without those that the kernel does not tell.
    """
    found = {}
    for file, keys in _FILES.items():
        try:
            lines = Path("/proc/self", file).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            key, _, rest = line.partition(":")
            if key in keys:
                found[key] = int(rest.split()[0]) * 1024
    return found
