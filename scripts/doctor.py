"""Is this machine set up? Versions, devices, one training step, one checkpoint, the data folder.

python scripts/doctor.py            about 10 s on a CPU; exit code 0 if all is well, else 1
"""

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

from vae_jax import console


@dataclass(frozen=True)
class Doctor:
    """Check that this machine can train, save and find data.

    Attributes:
        data_dir: folder of the data sets; what it lacks is in VAE_JAX_DATA, or a cache.
    """

    data_dir: str | None = None


def check_versions(_: Doctor) -> str:
    """Everything is installed."""
    from vae_jax.runs import versions

    found = versions()
    return ", ".join(f"{name} {found[name]}" for name in ("python", "jax", "flax", "numpyro"))


def check_devices(_: Doctor) -> str:
    """jax runs on what the machine has."""
    import jax

    from vae_jax.provenance import processor

    devices = ", ".join(sorted({device.device_kind for device in jax.devices()} - {"cpu"}))
    gpus = console.visible_gpus()
    if gpus and jax.default_backend() == "cpu":
        raise RuntimeError(
            f"nvidia-smi sees {len(gpus)} GPU(s) but jax runs on the CPU: "
            'pip install -e ".[cuda13]" (or ".[cuda12]")'
        )
    return f"{jax.default_backend()} x {jax.device_count()} ({devices or processor()})"


def check_step(_: Doctor) -> str:
    """One jitted step of the seed VAE on digits gives finite numbers."""
    import jax

    state, metrics = one_step()
    values = {name: float(value) for name, value in metrics.items()}
    if not all(bool(jax.numpy.isfinite(leaf).all()) for leaf in jax.tree.leaves((state, values))):
        raise RuntimeError(f"a training step gives numbers that are not finite: {values}")
    return ", ".join(f"{name} {value:.2f}" for name, value in values.items()) + " (nats)"


def check_checkpoint(_: Doctor) -> str:
    """A state comes back from the disk as it was."""
    import jax

    from vae_jax import checkpoints

    state, _metrics = one_step()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints.save(folder, 1, state)
        restored = checkpoints.restore(folder, jax.eval_shape(lambda: state))
    same = jax.tree.map(lambda left, right: bool((left == right).all()), state, restored)
    if not all(jax.tree.leaves(same)):
        raise RuntimeError("a restored checkpoint differs from what was saved")
    return f"{len(jax.tree.leaves(state))} arrays saved and restored"


def check_data(config: Doctor) -> str:
    """Where data sets lie; scikit-learn's digits need no folder."""
    from vae_jax.data import sources

    folders = sources.search_folders(config.data_dir)
    files = {"mnist": sources.MNIST["train-images-idx3"].name}
    files["binarized_mnist"] = sources.PACKED_BINARIZED_MNIST
    found = [name for name, file in files.items() if sources.find(name, file, config.data_dir)]
    names = ", ".join(found) or "no data sets; they are downloaded when asked for"
    return f"{names} in {', '.join(map(str, folders))}; digits come with scikit-learn"


@functools.cache
def one_step():
    """The state of the seed VAE after one step on 128 digits, and the metrics of the step."""
    import jax

    from vae_jax.configs import DataConfig, VAEConfig
    from vae_jax.data.arrays import load
    from vae_jax.systems import build

    data = load(DataConfig())
    system = build("vae", VAEConfig(), data.spec)
    batch = jax.numpy.asarray(data.train[:128])
    state = system.init(jax.random.key(0), batch)
    return jax.jit(system.step)(state, jax.random.key(1), batch, learning_rate=1e-3)


CHECKS: dict[str, Callable[[Doctor], str]] = {
    "versions": check_versions,
    "devices": check_devices,
    "training step": check_step,
    "checkpoint": check_checkpoint,
    "data": check_data,
}


def main(config: Doctor) -> int:
    """Run every check and say how it went."""
    healthy = True
    for name, check in CHECKS.items():
        try:
            console.show(f"ok    {name}: {check(config)}")
        except Exception as error:  # a check that fails must not hide the others
            healthy = False
            reason = " ".join(str(error).split()) or type(error).__name__
            console.show(f"FAIL  {name}: {reason}")
    return 0 if healthy else console.FAILED


if __name__ == "__main__":
    console.run_script(Doctor, main)
