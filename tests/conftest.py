"""Two virtual CPU devices, so that mapping over devices is really tested.

XLA optimises little here: tiny networks run no slower, and compile in half the time.
"""

import os

os.environ["XLA_FLAGS"] = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_force_host_platform_device_count=2"
)
os.environ["JAX_PLATFORMS"] = "cpu"
