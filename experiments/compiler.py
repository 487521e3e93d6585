"""Settings of XLA's compiler, made before JAX starts."""

import os

import jaxlib

# Each is known to the releases of XLA that it was measured with; others would stop at a name that
# they do not know. Times are of a training step at the papers' size on a CPU with AVX-512.
_MEASURED_RELEASES = ("0.10.",)
_FLAGS = (
    "--xla_cpu_prefer_vector_width=512",  # 0.88 of the time
    # YNNPACK's convolutions; its matrix products stay. 0.88 of the time.
    "--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION",
)


def set_flags() -> None:
    """Adds the project's flags to XLA_FLAGS, before the user's, which count where both are."""
    if jaxlib.__version__.startswith(_MEASURED_RELEASES):
        os.environ["XLA_FLAGS"] = " ".join([*_FLAGS, os.environ.get("XLA_FLAGS", "")])
