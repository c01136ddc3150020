"""How much does a certified nat cost? Annealing beside importance sampling, SMC, TFP and PyTorch.

python benchmarks/evidence.py --data-dir DIR --out OUT     about 25 min on 2 CPU cores
python benchmarks/evidence.py --data digits                with no download

On models whose evidence is known: nats of error. On the seed VAE with 20 latents, trained on MNIST:
nats that each bound leaves on the table on test images, the width of the sandwich on images
simulated from the decoder, gradients per second against the machine's matrix products, how cost
grows, and AIS as published. The peers need `pip install -c constraints.txt -e ".[bench]"`.
--out DIR takes evidence.json and .png.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import harness
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from decoder import TrainedDecoder, flops_per_gradient, trained_decoder
from published import NUM_LEAPFROGS as PUBLISHED_LEAPFROGS
from published import published_sandwich
from rivals import HALF, tfp_rows, torch_rows

from bayes_jax import (
    annealed_draws,
    elbo,
    evidence_sandwich,
    importance_bound,
    simulate,
)
from bayes_jax.exact.reference import REFERENCES, shifted_guide
from bayes_jax.smc import smc_runs
from vae_jax import plots, provenance

NUM_CHAINS = 16
CHEAPER = 20  # As published gets this many times the decoder calls of our shortest walk.
GUIDED, PRIOR = "AIS from the guide", "AIS from the prior"
PUBLISHED = "AIS as published"
LENGTHS = (25, 50, 100)


@dataclass(frozen=True)
class Benchmark:
    """Measure estimators of log p(x): nats against seconds and decoder calls.

    Attributes:
        data: mnist, or digits, which needs no download.
        data_dir: folder of the data sets; digits are taken where it is unset and mnist is absent.
        num_images: test images, and images of the timings.
        num_simulations: images simulated from the decoder for the width of the sandwich.
        num_published: of these, how many for AIS as published, which takes long.
        references: models with known evidence, by name; all of them take minutes to compile.
        num_epochs: of training.
        peers: hold TFP and PyTorch against it.
        out: folder for the JSON and the figure.
    """

    data: Literal["mnist", "digits"] = "mnist"
    data_dir: str | None = None
    num_images: int = 64
    num_simulations: int = 256
    num_published: int = 64
    references: tuple[str, ...] = tuple(REFERENCES)
    num_epochs: int = 30
    peers: bool = True
    out: Path | None = None


class Setup(NamedTuple):
    """What the studies share.

    Attributes:
        decoder: trained.
        ceiling: GFLOP/s of matrix products.
        z: latents behind the simulated images.
        x_simulated: images simulated from the decoder.
    """

    decoder: TrainedDecoder
    ceiling: float
    z: jax.Array
    x_simulated: jax.Array


def main(command: Benchmark) -> None:
    """Train, estimate, compare, write."""
    start = time.perf_counter()
    decoder = trained_decoder(
        command.data,
        command.data_dir,
        num_images=command.num_images,
        num_epochs=command.num_epochs,
    )
    z, x = simulate(jax.random.key(2), decoder.model, command.num_simulations)
    setup = Setup(decoder, harness.gemm_ceiling(), z, x.astype(jnp.float32))
    print(f"{decoder.name}: matrix products at {setup.ceiling:.0f} GFLOP/s", flush=True)
    rows = [show(row) for row in studies(setup, command)]
    config = {**asdict(command), "data": decoder.name, "data_dir": None, "out": None}
    meta = provenance.meta(config, seconds=time.perf_counter() - start)
    if command.out is not None:
        command.out.mkdir(parents=True, exist_ok=True)
        figure(rows, decoder.name).savefig(command.out / "evidence.png", dpi=150)
    harness.write(command.out, "evidence", rows, meta, summary=summary(rows))


def studies(setup: Setup, command: Benchmark) -> Iterator[dict]:
    """Every row, as soon as it is measured."""
    yield from reference_rows(command.references)
    yield from bound_rows(setup)
    yield from width_rows(setup, command)
    yield from scaling_rows(setup)
    if command.peers:
        yield from torch_rows(setup.decoder, setup.ceiling, num_chains=NUM_CHAINS)
        yield from tfp_rows(setup.decoder, setup.ceiling, num_chains=NUM_CHAINS)


def reference_rows(names: tuple[str, ...], num_observations: int = 64) -> Iterator[dict]:
    """Nats of error where the evidence is known."""
    for name in names:
        reference = REFERENCES[name]()
        _, x = simulate(jax.random.key(7), reference.model, num_observations)
        x = x.astype(jnp.float32)
        guide = shifted_guide(reference, x)
        exact = np.asarray(reference.log_evidence(x), np.float64)
        for method, run in list(estimators(reference.model, guide).items())[2:]:
            # Small eager parts around the engines trace anew, in no time.
            took = harness.measure(partial(run, jax.random.key(1), x), repeats=1, recompiles=True)
            error = np.asarray(took.result[0].lower, np.float64) - exact
            yield {
                "study": "reference",
                "model": name,
                "method": method,
                "num_images": num_observations,
                "error": error.mean(),
                "stderr": error.std(ddof=1) / np.sqrt(len(error)),
                "seconds": took.min_seconds,
                "decoder_calls": took.result[1],
            }


def estimators(model, guide) -> dict[str, Callable]:
    """Name -> `(key, x) -> (Evidence, decoder calls per image)`."""

    def annealed(num_temperatures, guide, key, x):
        draws = annealed_draws(key, model, x, guide=guide, num_temperatures=num_temperatures)
        return draws.evidence(), int(draws.num_grads[0])

    def importance(num_samples, key, x):
        bound = importance_bound(key, model, x, guide=guide, num_samples=num_samples)
        return bound, num_samples

    def smc(key, x):
        runs = smc_runs(key, model, x, guide=guide)
        return runs.evidence(), int(runs.num_grads[0])

    return {
        "ELBO": lambda key, x: (elbo(key, model, x, guide=guide, num_samples=1000), 1000),
        "importance, K = 50": partial(importance, 50),
        "importance, K = 5000": partial(importance, 5000),
        "SMC from the guide": smc,
        f"{GUIDED}, T = 100": partial(annealed, 100, guide),
        f"{PRIOR}, T = 1000": partial(annealed, 1000, None),
    }


def bound_rows(setup: Setup) -> Iterator[dict]:
    """What each bound makes of the same test images, and what it costs."""
    model, guide, _, x, name = setup.decoder
    flops = flops_per_gradient(x.shape[-1], model.prior.event_shape[0])
    for method, run in estimators(model, guide).items():
        took = harness.measure(partial(run, jax.random.key(3), x), repeats=1, recompiles=True)
        evidence, calls = took.result
        is_annealed = method.startswith((GUIDED, PRIOR))
        rate = len(x) * calls / took.min_seconds
        yield {
            "study": "bounds",
            "model": f"seed VAE, {name}",
            "method": method,
            "num_images": len(x),
            "log_prob": float(jnp.mean(evidence.lower)),
            "stderr": float(jnp.linalg.norm(evidence.stderr_lower)) / len(x),
            "seconds": took.min_seconds,
            "compile_seconds": took.compile_seconds,
            "decoder_calls": calls,
            "gradients_per_second": rate if is_annealed else None,
            "share_of_gemm": rate * flops / (1e9 * setup.ceiling) if is_annealed else None,
        }


def width_rows(setup: Setup, command: Benchmark) -> Iterator[dict]:
    """The sandwich on simulated images: ours at several lengths, and as published."""
    model, guide = setup.decoder.model, setup.decoder.guide
    z, x = setup.z, setup.x_simulated
    cases = [*((GUIDED, guide, num, "sigmoid") for num in LENGTHS)]
    # The way is long, and where it is steep depends on x.
    cases.append((PRIOR, None, 1000, "adaptive"))
    for method, start, num_temperatures, schedule in cases:
        options = {"guide": start, "num_temperatures": num_temperatures, "batch_size": 64}
        options["schedule"] = schedule
        began = time.perf_counter()
        sides = evidence_sandwich(jax.random.key(4), model, z, x, **options)
        width = np.asarray(sides.upper - sides.lower, np.float64)
        seconds = time.perf_counter() - began
        # Of one side, what the same settings cost on a test image.
        draws = annealed_draws(jax.random.key(4), model, x[:2], **options | {"batch_size": None})
        yield width_row(method, num_temperatures, width, int(draws.num_grads[0]), seconds)
        if num_temperatures == min(LENGTHS):
            affordable = CHEAPER * int(draws.num_grads[0]) // (NUM_CHAINS * PUBLISHED_LEAPFROGS)
    few = slice(command.num_published)
    began = time.perf_counter()
    width, calls = published_sandwich(
        jax.random.key(5),
        model,
        z[few],
        x[few],
        num_temperatures=affordable,
        num_chains=NUM_CHAINS,
    )
    yield width_row(PUBLISHED, affordable, width, calls, time.perf_counter() - began)


def width_row(method, num_temperatures, width, calls, seconds) -> dict:
    """One row; the seconds are of both sides, compiling included."""
    return {
        "study": "width",
        "method": f"{method}, T = {num_temperatures}",
        "num_images": len(width),
        "width": width.mean(),
        "stderr": width.std(ddof=1) / np.sqrt(len(width)),
        "seconds": seconds,
        "decoder_calls": calls,
    }


def scaling_rows(setup: Setup) -> Iterator[dict]:
    """Seconds when temperatures, chains or images double."""
    model, guide, _, x, _ = setup.decoder
    base = {"num_temperatures": 100, "num_chains": NUM_CHAINS, "num_images": len(x) // 2}
    cases = {"as it is": base}
    for name, value in base.items():
        cases[f"twice the {name.removeprefix('num_')}"] = base | {name: 2 * value}
    seconds = {}
    for case, options in cases.items():
        images = x[: options["num_images"]]
        rest = {name: value for name, value in options.items() if name != "num_images"}
        run = partial(annealed_draws, jax.random.key(6), model, images, guide=guide, **rest)
        seconds[case] = harness.measure(run, repeats=3, recompiles=True).min_seconds
        yield {
            "study": "scaling",
            "method": case,
            "num_images": len(images),
            "seconds": seconds[case],
            "ratio": seconds[case] / seconds["as it is"],
        }


def show(row: dict) -> dict:
    """Print a row and hand it on."""
    shown = {
        name: f"{value:,.4g}" if isinstance(value, float) else value
        for name, value in row.items()
        if value is not None
    }
    print("  ".join(f"{name} {value}" for name, value in shown.items()), flush=True)
    return row


def figure(rows: list[dict], name: str):
    """What each bound leaves on the table on test images, against what it costs."""
    shown = [row for row in rows if row["study"] == "bounds"]
    values = np.array([row["log_prob"] for row in shown])
    return plots.bound_costs(
        [row["method"] for row in shown],
        values.max() - values,
        np.array([row["stderr"] for row in shown]),
        np.array([row["decoder_calls"] for row in shown], float),
        title=f"What each bound leaves on the table: a VAE on {name}",
    )


def summary(rows: list[dict]) -> str:
    """The answer in one line."""
    found = {(row["study"], row["method"]): row for row in rows}
    guided, prior, shortest = (
        found["width", name]
        for name in (f"{GUIDED}, T = 100", f"{PRIOR}, T = 1000", f"{GUIDED}, T = {min(LENGTHS)}")
    )
    published = next(row for row in rows if row["method"].startswith(PUBLISHED))
    rate = found["bounds", f"{GUIDED}, T = 100"]
    text = (
        f"sandwich {guided['width']:.4f} ± {guided['stderr']:.4f} nat wide from the guide at 100 "
        f"temperatures, {prior['width']:.4f} ± {prior['stderr']:.4f} from the prior at 1000; as "
        f"published {published['width']:.3f} ± {published['stderr']:.3f} at "
        f"{published['decoder_calls'] / shortest['decoder_calls']:.0f} times the decoder calls "
        f"that leave ours at {shortest['width']:.3f} ± {shortest['stderr']:.3f}; "
        f"{rate['share_of_gemm']:.0%} of the matrix products' ceiling"
    )
    peers = {row["method"]: row for row in rows if row["study"] == "peers"}
    return f"{text}; {beside_torch(peers)}" if peers else text


def beside_torch(peers: dict[str, dict]) -> str:
    """Rates of the walks alone, in full precision and with rough forces."""
    rate = {name: row["gradients_per_second"] for name, row in peers.items()}

    def times(ours: str, *theirs: str) -> str:
        return f"{rate[ours] / max(rate[f'PyTorch, {name}'] for name in theirs):.2f} times"

    by_hand = ("gradient by hand, eager", "gradient by hand, compiled")
    half = ("bfloat16 forces, compiled", "bfloat16 forces by hand, compiled")
    return (
        f"{times('ours', 'eager', 'compiled')} batched PyTorch's rate, {times('ours', *by_hand)} "
        f"that with a gradient written by hand; with forces in bfloat16 "
        f"{rate[HALF] / rate['ours']:.2f} times that without, {times(HALF, 'eager', 'compiled')} "
        f"PyTorch's in float32 and {times(HALF, *half)} PyTorch's in bfloat16"
    )


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
