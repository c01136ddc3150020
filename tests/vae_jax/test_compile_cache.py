"""The second start of a script finds what the first compiled."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from dataclasses import dataclass
from vae_jax import console

@dataclass(frozen=True)
class Nothing:
    pass

def main(command):
    import jax, jax.numpy as jnp
    compiled = []
    jax.monitoring.register_event_listener(lambda name, **_: compiled.append(name))
    jax.jit(lambda x: jnp.sin(x) @ x.T)(jnp.ones((3, 4)))
    hits = sum(name == "/jax/compilation_cache/cache_hits" for name in compiled)
    misses = sum(name == "/jax/compilation_cache/cache_misses" for name in compiled)
    print(hits, misses, jax.config.jax_compilation_cache_dir)

console.run_script(Nothing, main)
"""


def started(**environment):
    cleared = {key: value for key, value in os.environ.items() if not key.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env={**cleared, "XLA_FLAGS": "", **environment},
    )
    hits, misses, folder = done.stdout.split()
    return int(hits), int(misses), folder


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"])
def test_the_second_start_compiles_nothing(tmp_path, variable):
    first_hits, first_misses, folder = started(**{variable: str(tmp_path)})
    assert folder.startswith(str(tmp_path))
    assert (first_hits, first_misses > 0) == (0, True)
    hits, misses, _ = started(**{variable: str(tmp_path)})
    assert (hits, misses) == (first_misses, 0)


def test_a_person_may_do_without(tmp_path):
    off = {"XDG_CACHE_HOME": str(tmp_path), "JAX_ENABLE_COMPILATION_CACHE": "false"}
    assert started(**off)[:2] == started(**off)[:2] == (0, 0)
    assert not any(tmp_path.rglob("*-cache"))
