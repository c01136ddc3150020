"""What tests share: the folder of real data sets, where there is one."""

import os
from importlib.metadata import version
from pathlib import Path

import pytest

# Tests compile far more than they compute: LLVM's optimisations are three quarters of the suite's
# time, and MLIR's fusions half of the rest (jaxlib 0.10 can leave them out, newer ones refuse the
# flag). XLA reads this when the backend starts, so it is set before anything computes.
FLAGS = [os.environ.get("XLA_FLAGS", ""), "--xla_backend_optimization_level=0"]
if version("jaxlib").startswith("0.10."):
    FLAGS += ["--xla_cpu_use_fusion_emitters=false"]
os.environ["XLA_FLAGS"] = " ".join(FLAGS)
# Scripts keep their compiled programs in a person's cache; tests leave it alone.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real data sets: VAE_JAX_DATA, or shared/data next to the repository."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("VAE_JAX_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no folder of data sets: set VAE_JAX_DATA, or make {beside}")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _forget_compilations():
    """Compiled programs of a finished file are of no use to the next, and gigabytes by the end."""
    yield
    import jax

    jax.clear_caches()
