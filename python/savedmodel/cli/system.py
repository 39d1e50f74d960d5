"""What figures are read with: the machine, the versions, and the memory of this process."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Return the machine's processor, processors of this process, memory and kernel."""
    model = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    return {
        "processor": model.group(1) if model else platform.processor() or platform.machine(),
        "usable_cpus": len(os.sched_getaffinity(0)),
        "cpus": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    """Return the versions of what runs a call. Needs TensorFlow's library."""
    import numpy as np

    from savedmodel import _native
    from savedmodel._version import __version__

    return {
        "savedmodel": __version__,
        "tensorflow": _native.TENSORFLOW_VERSION,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def resident_bytes() -> int:
    """Return the resident memory of this process, mapped files included."""
    return _status("VmRSS")


def peak_resident_bytes() -> int:
    """Return the most resident memory that this process has had."""
    return _status("VmHWM")


def _status(field: str) -> int:
    value = re.search(rf"^{field}:\s*(\d+) kB$", _read("/proc/self/status"), re.MULTILINE)
    return int(value.group(1)) * 1024 if value else 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
