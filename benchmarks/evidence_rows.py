"""Rows of benchmarks/evidence.py on our own estimators: errors, bounds, widths, how cost grows.

Decoder calls are those of one image, and of the walk there alone where there is one back too.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import harness
import jax
import jax.numpy as jnp
import numpy as np
from decoder import TrainedDecoder, flops_per_gradient
from published import NUM_LEAPFROGS as PUBLISHED_LEAPFROGS
from published import published_sandwich

from bayes_jax import annealed_draws, elbo, evidence_sandwich, importance_bound, simulate
from bayes_jax.annealing.moves import NUM_LEAPFROGS
from bayes_jax.exact.reference import REFERENCES, shifted_guide
from bayes_jax.smc import smc_runs
from vae_jax.timing import timed

NUM_CHAINS = 16
CHEAPER = 20  # As published gets this many times the decoder calls of our shortest walk.
LENGTHS = (25, 50, 100)
PUBLISHED = "AIS as published"
SCHEDULES = ("sigmoid", "adaptive")  # The library's own, and the one that looks where it is steep.


def from_guide(num_temperatures: int = 100) -> str:
    """Name of annealing from the guide; its schedule is the library's own, sigmoid."""
    return f"AIS from the guide, T = {num_temperatures}"


def from_prior(schedule: str = SCHEDULES[0]) -> str:
    """Name of annealing from the prior."""
    return f"AIS from the prior, {schedule}, T = 1000"


class Setup(NamedTuple):
    """What the studies share.

    Attributes:
        decoder: trained.
        z: latents behind the simulated images.
        x_simulated: images simulated from the decoder.
    """

    decoder: TrainedDecoder
    z: jax.Array
    x_simulated: jax.Array


class Estimator(NamedTuple):
    """A way to log p(x).

    Attributes:
        run: `(key, x) -> (Evidence, decoder calls per image)`.
        sandwich: `(key, z, x) -> Evidence` from both sides; None where there is but one.
    """

    run: Callable
    sandwich: Callable | None = None


def estimators(model, guide) -> dict[str, Estimator]:
    """Every estimator by name."""

    def annealing(num_temperatures, guide):
        options = {"guide": guide, "num_temperatures": num_temperatures}

        def run(key, x):
            draws = annealed_draws(key, model, x, **options)
            return draws.evidence(), int(draws.num_grads[0])

        return Estimator(run, lambda key, z, x: evidence_sandwich(key, model, z, x, **options))

    def importance(num_samples):
        options = {"guide": guide, "num_samples": num_samples}
        return Estimator(lambda key, x: (importance_bound(key, model, x, **options), num_samples))

    def smc(key, x):
        runs = smc_runs(key, model, x, guide=guide)
        return runs.evidence(), int(runs.num_grads[0])

    return {
        "ELBO": Estimator(
            lambda key, x: (elbo(key, model, x, guide=guide, num_samples=1000), 1000)
        ),
        "importance, K = 50": importance(50),
        "importance, K = 5000": importance(5000),
        "SMC from the guide": Estimator(smc),
        from_guide(): annealing(100, guide),
        from_prior(): annealing(1000, None),
    }


def reference_rows(names: tuple[str, ...], num_observations: int = 64) -> Iterator[dict]:
    """Nats of error where the evidence is known, and of width where there are two sides."""
    for name in names:
        reference = REFERENCES[name]()
        z, x = simulate(jax.random.key(7), reference.model, num_observations)
        x = x.astype(jnp.float32)
        guide = shifted_guide(reference, x)
        exact = np.asarray(reference.log_evidence(x), np.float64)
        for method, estimator in estimators(reference.model, guide).items():
            run = partial(estimator.run, jax.random.key(1), x)
            # Small eager parts around the engines trace anew, in no time.
            took = harness.measure(run, repeats=1, recompiles=True)
            evidence, calls = took.result
            error = np.asarray(evidence.lower, np.float64) - exact
            width = None
            if estimator.sandwich is not None:
                width = widths(estimator.sandwich(jax.random.key(4), z, x))
            yield {
                "study": "reference",
                "model": name,
                "method": method,
                "num_images": num_observations,
                **mean_of("error", error),
                **mean_of("width", width, stderr="width_stderr"),
                "seconds": took.min_seconds,
                "decoder_calls": calls,
            }
        # Compiled programs of all references together are more than a process may map.
        jax.clear_caches()


def bound_rows(setup: Setup) -> Iterator[dict]:
    """What each bound makes of the same test images, and what it costs."""
    model, guide, _, x, name = setup.decoder
    flops = flops_per_gradient(x.shape[-1], model.prior.event_shape[0])
    for method, estimator in estimators(model, guide).items():
        run = partial(estimator.run, jax.random.key(3), x)
        repeats = 3 if method == from_guide() else 1
        took = harness.measure(run, repeats=repeats, recompiles=True)
        evidence, calls = took.result
        is_annealed = estimator.sandwich is not None
        # Beside the run: what a shared machine reaches changes by the minute.
        ceiling = harness.gemm_ceiling()
        rate = len(x) * calls / took.min_seconds
        yield {
            "study": "bounds",
            "model": f"seed VAE, {name}",
            "method": method,
            "num_images": len(x),
            "log_prob": float(jnp.mean(evidence.lower)),
            "stderr": float(jnp.linalg.norm(evidence.stderr_lower)) / len(x),
            "log_prob_by_image": np.asarray(evidence.lower, np.float64).tolist(),
            "seconds": took.min_seconds,
            "compile_seconds": took.compile_seconds,
            "decoder_calls": calls,
            "gradients_per_second": rate if is_annealed else None,
            "gemm_gflops": ceiling,
            "share_of_gemm": rate * flops / (1e9 * ceiling) if is_annealed else None,
        }


def width_rows(
    setup: Setup, *, calls: dict[str, int], num_sigmoid: int, num_published: int
) -> Iterator[dict]:
    """The sandwich on simulated images: ours at several lengths, and as published.

    Args:
        setup: decoder and simulated images.
        calls: decoder calls of one side by method, from the guide and from the prior as
            `bound_rows` has them: they depend on no image and on no schedule.
        num_sigmoid: how many of the images for the library's own schedule from the prior, where the
            adaptive one is tighter.
        num_published: how many for AIS as published, which takes long.
    """
    guide, spent = setup.decoder.guide, {}
    for num in LENGTHS:
        # A temperature more is a move more of every chain.
        spent[num] = calls[from_guide()] + NUM_CHAINS * NUM_LEAPFROGS * (num - 100)
        yield width_row(setup, from_guide(num), spent[num], guide=guide, num_temperatures=num)
    for schedule, num in zip(SCHEDULES, (num_sigmoid, len(setup.z)), strict=True):
        few = setup._replace(z=setup.z[:num], x_simulated=setup.x_simulated[:num])
        options = {"num_temperatures": 1000, "schedule": schedule}
        yield width_row(few, from_prior(schedule), calls[from_prior()], **options)
    affordable = CHEAPER * spent[min(LENGTHS)] // (NUM_CHAINS * PUBLISHED_LEAPFROGS)
    yield published_row(setup, affordable, num_published)


def width_row(setup: Setup, method: str, calls: int, **options) -> dict:
    """One of ours."""
    model, z, x = setup.decoder.model, setup.z, setup.x_simulated
    both = partial(evidence_sandwich, jax.random.key(4), model, z, x, batch_size=64, **options)
    took = timed(both)
    return as_width_row(method, widths(took.result), calls, took)


def published_row(setup: Setup, num_temperatures: int, num_images: int) -> dict:
    """AIS as published."""
    took = timed(
        partial(
            published_sandwich,
            jax.random.key(5),
            setup.decoder.model,
            setup.z[:num_images],
            setup.x_simulated[:num_images],
            num_temperatures=num_temperatures,
            num_chains=NUM_CHAINS,
        )
    )
    sides, num_grads = took.result
    return as_width_row(f"{PUBLISHED}, T = {num_temperatures}", widths(sides), num_grads, took)


def as_width_row(method: str, width: np.ndarray, calls: int, took) -> dict:
    """One row; its seconds are of both sides."""
    return {
        "study": "width",
        "method": method,
        "num_images": len(width),
        **mean_of("width", width),
        "seconds": took.seconds,
        "compile_seconds": took.compile_seconds,
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


def widths(sides) -> np.ndarray:
    """Upper less lower of every image, in nats."""
    return np.asarray(sides.upper - sides.lower, np.float64)


def mean_of(name: str, values: np.ndarray | None, *, stderr: str = "stderr") -> dict:
    """Mean over images and its standard error; None where there are no values."""
    if values is None:
        return {name: None, stderr: None}
    return {name: values.mean(), stderr: values.std(ddof=1) / np.sqrt(len(values))}
