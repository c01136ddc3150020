"""Compiled programs on the disk: the second start of a script does not compile what the first did.

JAX's own cache, in a folder for each kind of machine: what was compiled for one CPU may not run on
another that shares the home folder.
"""

import hashlib
import platform
from pathlib import Path

VARIABLE = "JAX_COMPILATION_CACHE_DIR"
"""A folder named by this environment variable is taken as it is."""


def activate() -> None:
    """Let JAX keep its compiled programs, all of them, unless the environment says where or not."""
    import jax
    import pooch

    if jax.config.jax_compilation_cache_dir is None:
        folder = Path(pooch.os_cache("vae_jax")) / "compiled" / _machine()
        jax.config.update("jax_compilation_cache_dir", str(folder))
    # A script compiles a hundred small programs; together they take longer than the few large ones.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _machine() -> str:
    """What programs compiled for the CPU depend on, as a name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    flags = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    described = "\n".join([platform.machine(), platform.processor(), *sorted(flags)])
    return hashlib.sha256(described.encode()).hexdigest()[:12]
