"""Settings of XLA's compiler and of the system's memory, made before JAX starts."""

import os
import sys
from importlib.metadata import version
from pathlib import Path

# Each is known to the releases of XLA that it was measured with; others would stop at a name that
# they do not know. Times are of a training step at the papers' size on a CPU with AVX-512.
_MEASURED_RELEASES = ("0.10.",)
_FLAGS = (
    "--xla_cpu_prefer_vector_width=512",  # 0.88 of the time
    # YNNPACK's convolutions; its matrix products stay. 0.88 of the time.
    "--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION",
)

# Forbids operations that add up in any order, and times no variants of one to choose among.
_DETERMINISTIC = "--xla_gpu_deterministic_ops=true"

# glibc asks Linux for pages of 2 MiB. A step takes and frees gigabytes, in which each page of 4 KiB
# costs the system some microseconds. 0.8 of the time.
_HUGE_PAGES = "glibc.malloc.hugetlb"
_HUGE_PAGES_MODE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def set_environment() -> None:
    """Adds the project's settings to the environment, where the user has not made them.

    In XLA_FLAGS the project's come first, so that the user's count where both are. GLIBC_TUNABLES
    is read by a process as it starts only, so a script of this folder is started again with it; to
    be called before anything that takes time.
    """
    if version("jaxlib").startswith(_MEASURED_RELEASES):
        given = os.environ.get("XLA_FLAGS", "").split()
        ours = [flag for flag in _FLAGS if flag not in given]
        os.environ["XLA_FLAGS"] = " ".join(ours + given)
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if _HUGE_PAGES not in tunables and _gives_huge_pages_on_request() and _runs_a_script():
        os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, [tunables, f"{_HUGE_PAGES}=1"]))
        os.execv(sys.executable, sys.orig_argv)


def make_deterministic() -> None:
    """Asks XLA for the same bits in every run on a GPU; to be called before a device is touched.

    On a CPU they are the same anyway.
    """
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), _DETERMINISTIC]).strip()


def _gives_huge_pages_on_request() -> bool:
    try:
        return "[madvise]" in _HUGE_PAGES_MODE.read_text()
    except OSError:
        return False


def _runs_a_script() -> bool:
    started = getattr(sys.modules["__main__"], "__file__", None)
    return started is not None and Path(started).resolve().parent == Path(__file__).resolve().parent
