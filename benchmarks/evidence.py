"""How much does a certified nat cost? Annealing beside importance sampling, SMC, TFP and PyTorch.

python benchmarks/evidence.py --data-dir DIR --out OUT     about 35 min on 2 CPU cores
python benchmarks/evidence.py --data digits                with no download

On models whose evidence is known: nats of error, and of the sandwich's width. On the seed VAE with
20 latents, trained on MNIST: nats that each bound leaves on the table on test images, the width of
the sandwich on images simulated from the decoder, gradients per second against the machine's matrix
products, how cost grows, and AIS as published. The peers need
`pip install -c constraints.txt -e ".[bench]"`. --out DIR takes evidence.json, evidence.png and
evidence_width.png.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import harness
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from decoder import trained_decoder
from evidence_rows import (
    LENGTHS,
    NUM_CHAINS,
    PUBLISHED,
    SCHEDULES,
    Setup,
    bound_rows,
    from_guide,
    from_prior,
    reference_rows,
    scaling_rows,
    width_rows,
)
from rivals import HALF, tfp_rows, torch_rows

from bayes_jax import simulate
from bayes_jax.exact.reference import REFERENCES
from vae_jax import plots, provenance


@dataclass(frozen=True)
class Benchmark:
    """Measure estimators of log p(x): nats against seconds and decoder calls.

    Attributes:
        data: mnist, or digits, which needs no download.
        data_dir: folder of the data sets; digits are taken where it is unset and mnist is absent.
        num_images: test images, and images of the timings.
        num_simulations: images simulated from the decoder for the width of the sandwich; half of
            them for the library's own schedule from the prior, where the adaptive one is tighter.
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


def main(command: Benchmark) -> None:
    """Train, estimate, compare, write."""
    start = time.perf_counter()
    if unknown := [name for name in command.references if name not in REFERENCES]:
        raise SystemExit(
            f"error: --references {unknown[0]}: expected some of {', '.join(REFERENCES)}"
        )
    decoder = trained_decoder(
        command.data,
        command.data_dir,
        num_images=command.num_images,
        num_epochs=command.num_epochs,
    )
    z, x = simulate(jax.random.key(2), decoder.model, command.num_simulations)
    setup = Setup(decoder, z, x.astype(jnp.float32))
    rows = [show(row) for row in studies(setup, command)]
    config = {**asdict(command), "data": decoder.name, "data_dir": None, "out": None}
    meta = provenance.meta(config, seconds=time.perf_counter() - start)
    harness.write(command.out, "evidence", rows, meta, summary=summary(rows))
    if command.out is not None:
        for name, draw in (("evidence", bounds_figure), ("evidence_width", widths_figure)):
            draw(rows, decoder.name).savefig(command.out / f"{name}.png", dpi=150)


def studies(setup: Setup, command: Benchmark) -> Iterator[dict]:
    """Every row, as soon as it is measured."""
    yield from reference_rows(command.references)
    bounds = {}
    for row in bound_rows(setup):
        bounds[row["method"]] = row
        yield row
    yield from width_rows(
        setup,
        calls={name: row["decoder_calls"] for name, row in bounds.items()},
        num_sigmoid=command.num_simulations // 2,
        num_published=command.num_published,
    )
    jax.clear_caches()
    yield from scaling_rows(setup)
    if command.peers:
        ours = {"guide": bounds[from_guide()], "prior": bounds[from_prior()]}
        peers = {"num_chains": NUM_CHAINS}
        yield from torch_rows(setup.decoder, **peers)
        yield from tfp_rows(setup.decoder, ours=ours, **peers)


def show(row: dict) -> dict:
    """Print a row and hand it on."""
    shown = {
        name: f"{value:,.4g}" if isinstance(value, float) else value
        for name, value in row.items()
        if value is not None and not isinstance(value, list)
    }
    print("  ".join(f"{name} {value}" for name, value in shown.items()), flush=True)
    return row


def bounds_figure(rows: list[dict], name: str):
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


def widths_figure(rows: list[dict], name: str):
    """How far apart the sides are on simulated images, against what one of them costs."""
    shown = [row for row in rows if row["study"] == "width"]
    return plots.bound_costs(
        [row["method"] for row in shown],
        np.array([row["width"] for row in shown]),
        np.array([row["stderr"] for row in shown]),
        np.array([row["decoder_calls"] for row in shown], float),
        title=f"How wide the sandwich is on images simulated by a VAE on {name}",
        ylabel="nats per image between the sides",
        at_the_edge="not above 0",
    )


def summary(rows: list[dict]) -> str:
    """The answer in one line."""
    found = {}
    for row in rows:
        found.setdefault(row["study"], {})[row["method"]] = row
    parts = [what_widths_are(found["width"]), what_is_left(found["bounds"], found["scaling"])]
    if peers := found.get("peers"):
        parts += [beside_torch(peers), beside_tfp(peers, found["bounds"])]
    return "; ".join(parts)


def what_is_left(bounds: dict[str, dict], scaling: dict[str, dict]) -> str:
    """What cheaper bounds leave on the table on test images, and what ours cost."""
    best = bounds[from_guide()]
    below = ", ".join(
        f"{name} {best['log_prob'] - bounds[name]['log_prob']:.2f}"
        for name in ("ELBO", "importance, K = 50", "importance, K = 5000")
    )
    dearest = max(row["ratio"] for row in scaling.values())
    return (
        f"on test images below annealing from the guide, in nats: {below}; twice the temperatures, "
        f"chains or images cost at most {dearest:.2f} times; {best['share_of_gemm']:.0%} of the "
        "matrix products' ceiling"
    )


def what_widths_are(rows: dict[str, dict]) -> str:
    """Ours, and as published at many times the calls."""
    shortest = rows[from_guide(min(LENGTHS))]
    published = next(row for name, row in rows.items() if name.startswith(PUBLISHED))

    def nats(row, digits=4):
        return f"{row['width']:.{digits}f} ± {row['stderr']:.{digits}f}"

    from_priors = ", ".join(f"{nats(rows[from_prior(each)])} ({each})" for each in SCHEDULES)
    return (
        f"sandwich {nats(rows[from_guide()])} nat wide from the guide at 100 temperatures, "
        f"{from_priors} from the prior at 1000; as published {nats(published, 3)} at "
        f"{published['decoder_calls'] / shortest['decoder_calls']:.0f} times the decoder calls "
        f"that leave ours at {nats(shortest, 3)}"
    )


def beside_tfp(peers: dict[str, dict], bounds: dict[str, dict]) -> str:
    """Nats beside ours on the same images, at how many times the calls; rates with all tuning."""
    rows = [row for row in peers.values() if "times_the_calls" in row]
    nats = ", ".join(
        f"{row['method'].removeprefix('TFP ')} {row['difference']:+.3f} ± "
        f"{row['stderr_difference']:.3f} nat at {row['times_the_calls']:.1f} times our calls"
        for row in rows
    )
    rate = max(row["gradients_per_second"] for row in rows)
    return (
        f"TFP's AIS, mended and tuned, beside ours on the same images: {nats}; {rate:,.0f} "
        f"gradients/s, ours {bounds[from_guide()]['gradients_per_second']:,.0f}"
    )


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
