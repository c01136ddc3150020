"""How fast are thousands of posteriors sampled, beside NumPyro and BlackJAX?

python benchmarks/posterior_sampling.py --data-dir DIR     about 15 min on 2 CPU cores
python benchmarks/posterior_sampling.py --data digits      with no download, about 8 min

Trains the seed VAE with 20 latents, then samples the posteriors of its first test images with every
sampler: the summed smallest ESS per second, with and without compiling, the worst R-hat, gradients
per second against the machine's matrix products, and whether the moments are those of NumPyro's
NUTS. --out DIR takes posterior_sampling.json and .png.
"""

import os
import threading
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import harness
import jax
import jax.numpy as jnp
import numpy as np
import samplers
import tyro
from decoder import flops_per_gradient, trained_decoder

from bayes_jax import Draws, diagnose
from bayes_jax.diagnostics import judge
from vae_jax import plots, provenance
from vae_jax.timing import timed

PEER, OURS, WITHOUT_GUIDE = "NumPyro NUTS", "ours", "ours, no guide"
DENSE = "NumPyro NUTS, dense mass"
# Of a baseline that counts.
MAX_RHAT = 1.01


@dataclass(frozen=True)
class Benchmark:
    """Sample the posteriors of a VAE's test images with every sampler.

    Attributes:
        data: mnist, or digits, which needs no download.
        data_dir: folder of the data sets; digits are taken where it is unset and mnist is absent.
        num_posteriors: images in the comparison.
        sizes: numbers of posteriors that show how cost grows.
        num_epochs: of training.
        num_nuts_posteriors: of these, how many for NumPyro's NUTS, one after another.
        num_peer_posteriors: images for the other peers, whose rate does not depend on it.
        seconds_cap: after which NumPyro's vmapped NUTS is given up.
        out: folder for the JSON and the figure.
    """

    data: Literal["mnist", "digits"] = "mnist"
    data_dir: str | None = None
    num_posteriors: int = 64
    sizes: tuple[int, ...] = (16, 64, 256)
    num_epochs: int = 30
    num_nuts_posteriors: int = 64
    num_peer_posteriors: int = 8
    seconds_cap: float = 120.0
    out: Path | None = None


def main(command: Benchmark) -> None:
    """Train, sample, compare, write."""
    start = time.perf_counter()
    model, guide, _, images, name = trained_decoder(
        command.data,
        command.data_dir,
        num_images=max(command.num_posteriors, *command.sizes),
        num_epochs=command.num_epochs,
    )
    x = images[: command.num_posteriors]
    ceiling = harness.gemm_ceiling()
    print(f"{name}: {len(x)} posteriors; matrix products at {ceiling:.0f} GFLOP/s", flush=True)

    known = x[: command.num_nuts_posteriors]
    rows = [run(PEER, samplers.numpyro_nuts(model, guide), known, ceiling=ceiling)]
    reference = rows[0]["z"]
    for label, sampler in (
        (OURS, samplers.ours(model, guide)),
        ("ours, bfloat16 forces", samplers.ours(model, guide, force_dtype="bfloat16")),
        (WITHOUT_GUIDE, samplers.ours(model, None)),
    ):
        rows.append(run(label, sampler, x, ceiling=ceiling, reference=reference))
    few = x[: command.num_peer_posteriors]
    for label, peer in (
        (DENSE, samplers.numpyro_nuts(model, guide, dense_mass=True)),
        ("BlackJAX NUTS", samplers.blackjax_nuts(model, guide)),
        ("BlackJAX ChEES", samplers.blackjax_chees(model, guide)),
    ):
        rows.append(run(label, peer, few, ceiling=ceiling))
    for size in command.sizes:
        jax.clear_caches()  # each pays for its own compiling
        rows.append(
            run(f"ours, {size}", samplers.ours(model, guide), images[:size], ceiling=ceiling)
        )
    # Last, for it may not come back.
    rows.append(run_capped(samplers.numpyro_vmapped(model, guide), x, command.seconds_cap))

    rows = [{key: value for key, value in row.items() if key != "z"} for row in rows]
    config = {**asdict(command), "data": name, "data_dir": None, "out": None}
    meta = provenance.meta(config, seconds=time.perf_counter() - start)
    if command.out is not None:
        command.out.mkdir(parents=True, exist_ok=True)
        figure(rows, name).savefig(command.out / "posterior_sampling.png", dpi=150)
    harness.write(command.out, "posterior_sampling", rows, meta, summary=summary(rows))
    os._exit(0)  # the thread of the last sampler cannot be ended otherwise


def figure(rows: list[dict], name: str):
    """Rates of all samplers that came back."""
    shown = [row for row in rows if row["ess_per_second"]]
    return plots.rates(
        [f"{row['method']} (R-hat {row['max_rhat']:.3f})" for row in shown],
        np.array([row["ess_per_second"] for row in shown]),
        np.array([row["ess_per_second_with_compile"] for row in shown]),
        title=f"Posterior sampling of a VAE on {name}",
        unit="effective draws per second, summed over posteriors",
    )


def run(method: str, sampler, x, *, ceiling: float, reference=None) -> dict:
    """One row: rates, convergence, and agreement with the reference's moments.

    Args:
        method: as a person reads it.
        sampler: `(key, x)` -> Draws, or z `[posterior, chain, draw, latent]`.
        x: images.
        ceiling: GFLOP/s of matrix products.
        reference: z of the same images, held to be right.
    """
    result, seconds, compile_seconds = timed(partial(sampler, jax.random.key(1), x))
    draws = result if isinstance(result, Draws) else as_draws(result)
    found = diagnose(draws)
    ess = float(jnp.sum(jnp.min(found.ess_bulk, axis=-1)))
    num_grads = float(np.sum(np.asarray(draws.num_grads, np.float64)))
    rate = num_grads / seconds
    flops = flops_per_gradient(x.shape[-1], draws.z.shape[-1])
    row = {
        "method": method,
        "num_posteriors": len(x),
        "ess_per_second": ess / seconds,
        "ess_per_second_with_compile": ess / (seconds + compile_seconds),
        "max_rhat": float(jnp.max(found.rhat)),
        "share_converged": float(jnp.mean(judge(found).converged)) if num_grads else None,
        "largest_moment_error": None if reference is None else disagreement(draws.z, reference),
        "gradients_per_second": rate if num_grads else None,
        "share_of_gemm": rate * flops / (1e9 * ceiling) if num_grads else None,
        "accept": float(jnp.mean(draws.accept)) if num_grads else None,
        "seconds": seconds,
        "compile_seconds": compile_seconds,
        "z": draws.z,
    }
    print(line(row), flush=True)
    return row


def as_draws(z) -> Draws:
    """A peer's draws: no gradients counted."""
    shape = z.shape[:3]
    none, zeros = jnp.zeros(shape), jnp.zeros(shape[0], jnp.int32)
    valid, wide = jnp.ones(shape[0], bool), jnp.zeros(shape[:2], bool)
    return Draws(jnp.asarray(z), none, none, jnp.zeros(shape[0]), zeros, zeros, valid, wide)


def disagreement(z, reference) -> float:
    """Means and squares of every x and latent: the largest difference in standard errors.

    The reference may have fewer x.
    """
    centre = jnp.mean(reference, axis=(1, 2), keepdims=True)
    both = (z[: len(reference)], reference)
    means, errors = zip(*(_moments(draws - centre) for draws in both), strict=True)
    return float(jnp.max(jnp.abs(means[0] - means[1]) / jnp.hypot(*errors)))


@jax.jit
def _moments(z):
    features = jnp.concatenate([z, z**2], axis=-1)
    return jnp.mean(features, axis=(1, 2)), diagnose(as_draws(features)).mcse_mean


def run_capped(sampler, x, seconds: float) -> dict:
    """Start a sampler that may not come back, and wait so long."""
    done = threading.Event()

    def work():
        jax.block_until_ready(sampler(jax.random.key(1), x))
        done.set()

    start = time.perf_counter()
    threading.Thread(target=work, daemon=True).start()
    finished = done.wait(seconds)
    row = {
        "method": "NumPyro NUTS, vmapped",
        "num_posteriors": len(x),
        "ess_per_second": None,
        "seconds": time.perf_counter() - start,
        "finished": finished,
    }
    print(f"{row['method']}: {'done' if finished else 'not done'} after {row['seconds']:.0f} s")
    return row


def line(row: dict) -> str:
    """A row as it is printed."""
    text = (
        f"{row['method']}, {row['num_posteriors']} posteriors: "
        f"{row['ess_per_second']:,.0f} effective draws / s "
        f"({row['ess_per_second_with_compile']:,.0f} with compiling), R-hat {row['max_rhat']:.4f}"
    )
    if row["share_of_gemm"]:
        text += f", {row['gradients_per_second']:,.0f} gradients / s"
        text += f" ({row['share_of_gemm']:.0%} of matrix products)"
    if row["largest_moment_error"]:
        text += f", moments within {row['largest_moment_error']:.1f} standard errors of NUTS"
    return text


def summary(rows: list[dict]) -> str:
    """The answer in one line."""
    found = {row["method"]: row for row in rows}
    peer = found[PEER]
    others = [row for row in rows if not row["method"].startswith("ours")]
    fair = [row for row in others if row.get("max_rhat") and row["max_rhat"] < MAX_RHAT]
    best = max(fair, key=lambda row: row["ess_per_second"], default=peer)
    ours, wide = found[OURS], found[WITHOUT_GUIDE]

    def ratio(row, key):
        return row[key] / peer[key]

    return (
        f"{ratio(ours, 'ess_per_second'):.0f} times NumPyro NUTS's effective draws per second "
        f"({ratio(ours, 'ess_per_second_with_compile'):.0f} times with compiling; without a guide "
        f"{ratio(wide, 'ess_per_second'):.0f} times) on {ours['num_posteriors']} posteriors, R-hat "
        f"{ours['max_rhat']:.4f}, {ours['share_of_gemm']:.0%} of the matrix products' ceiling; "
        f"{ours['ess_per_second'] / best['ess_per_second']:.0f} times the fastest peer with an "
        f"R-hat below {MAX_RHAT}, {best['method']}"
    )


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
