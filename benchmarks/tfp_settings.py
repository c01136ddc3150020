"""Which settings make the most of TFP's annealed importance sampling, at equal calls of the walk?

python benchmarks/tfp_settings.py --data-dir DIR --out OUT     about 20 min on 2 CPU cores
python benchmarks/tfp_settings.py --data digits                with no download

Ladder, leapfrogs, acceptance and start, one after the other, each with the best of those before it,
on test images that benchmarks/evidence.py does not score. What is best here it takes for TFP;
settings that come near differ by less than their errors. All walks spend as many decoder calls,
those that tune the step come on top, more of them for longer moves. Needs
`pip install -c constraints.txt -e ".[bench]"`; --out DIR takes tfp_settings.json.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import harness
import jax
import numpy as np
import tyro
from decoder import TrainedDecoder, trained_decoder
from tfp_annealer import TFPSettings, make_tfp, num_tuning

from bayes_jax import annealed_evidence
from bayes_jax.annealing.schedules import FIXED_SCHEDULES
from bayes_jax.estimates import log_mean_exp
from vae_jax import provenance
from vae_jax.timing import timed

NUM_CHAINS = 16
SKIPPED = 64  # Test images that benchmarks/evidence.py scores.
LADDERS = (("linear", 1), ("sigmoid", 4), ("sigmoid", 8), ("sigmoid", 16), ("power", 8))


@dataclass(frozen=True)
class Benchmark:
    """Tune TFP's annealing.

    Attributes:
        data: mnist, or digits, which needs no download.
        data_dir: folder of the data sets; digits are taken where it is unset and mnist is absent.
        num_images: test images, after those that are scored elsewhere.
        guide_calls: decoder calls of a walk from the guide, for each image.
        prior_calls: of a walk from the prior.
        num_epochs: of training.
        out: folder for the JSON.
    """

    data: Literal["mnist", "digits"] = "mnist"
    data_dir: str | None = None
    num_images: int = 64
    guide_calls: int = 5_000
    prior_calls: int = 40_000
    num_epochs: int = 30
    out: Path | None = None


def main(command: Benchmark) -> None:
    """Train, scan, write."""
    start = time.perf_counter()
    decoder = trained_decoder(
        command.data,
        command.data_dir,
        num_images=SKIPPED + command.num_images,
        num_epochs=command.num_epochs,
    )
    decoder = decoder._replace(x=decoder.x[SKIPPED:])
    rows = list(scan(decoder, command))
    config = {**asdict(command), "data": decoder.name, "data_dir": None, "out": None}
    meta = provenance.meta(config, seconds=time.perf_counter() - start)
    harness.write(command.out, "tfp_settings", rows, meta, summary=summary(rows))


def scan(decoder: TrainedDecoder, command: Benchmark) -> Iterator[dict]:
    """Every setting, as soon as it is measured."""
    key = jax.random.key(0)
    model, guide, _, x, _ = decoder
    ours = annealed_evidence(key, model, x, guide=guide, num_temperatures=400).lower
    for start, guide, calls in (
        ("guide", decoder.guide, command.guide_calls),
        ("prior", None, command.prior_calls),
    ):
        scored = partial(score, decoder._replace(guide=guide), calls, np.asarray(ours, np.float64))
        best = None
        for choices in alternatives(from_guide=guide is not None):
            rows = [{"start": start, **scored(options)} for options in choices(best)]
            for row in rows:
                print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
            yield from rows
            best = max([*rows, *([best] if best else [])], key=lambda row: row["beside_ours"])


def alternatives(*, from_guide: bool):
    """Stages of the scan: each takes the best row so far and gives what to try next."""
    names = ("ladder", "pieces", "num_leapfrogs", "target_accept", "widening")

    def changed(name, values):
        return lambda best: [
            {each: best[each] for each in names} | {name: value} for value in values
        ]

    first = {"num_leapfrogs": 2, "target_accept": 0.7, "widening": 1.2}
    yield lambda _: [{"ladder": ladder, "pieces": pieces, **first} for ladder, pieces in LADDERS]
    yield changed("num_leapfrogs", (1, 5, 10))
    yield changed("target_accept", (0.6, 0.8, 0.9))
    if from_guide:
        yield changed("widening", (1.0, 1.5))


def score(decoder: TrainedDecoder, calls: int, ours: np.ndarray, options: dict) -> dict:
    """One setting: its mean bound beside ours at 400 temperatures, paired image by image."""
    settings = settings_of(options, calls)
    annealer = make_tfp(decoder.model, decoder.guide, settings=settings, num_chains=NUM_CHAINS)
    took = timed(lambda: annealer(jax.random.key(1), decoder.x))
    log_weight, num_grads = took.result
    difference = np.asarray(log_mean_exp(log_weight), np.float64) - ours
    return {
        **options,
        "num_temperatures": options["pieces"] * settings.num_steps,
        "beside_ours": difference.mean(),
        "stderr": difference.std(ddof=1) / np.sqrt(len(difference)),
        "decoder_calls": num_grads,
        "tuning_calls": num_tuning(settings),
        "seconds": took.seconds,
    }


def settings_of(options: dict, calls: int) -> TFPSettings:
    """As many temperatures as the calls pay for."""
    pieces, num_leapfrogs = options["pieces"], options["num_leapfrogs"]
    return TFPSettings(
        knots=tuple(FIXED_SCHEDULES[options["ladder"]](pieces).tolist()),
        num_steps=max(calls // (NUM_CHAINS * pieces * (num_leapfrogs + 1)), 1),
        num_leapfrogs=num_leapfrogs,
        target_accept=options["target_accept"],
        widening=options["widening"],
    )


def summary(rows: list[dict]) -> str:
    """The answer in one line."""
    texts = []
    for start in ("guide", "prior"):
        best = max(
            (row for row in rows if row["start"] == start), key=lambda row: row["beside_ours"]
        )
        linear = next(row for row in rows if row["start"] == start)
        texts.append(
            f"from the {start} {best['ladder']} in {best['pieces']}, {best['num_leapfrogs']} "
            f"leapfrogs, acceptance {best['target_accept']}"
            + (f", {best['widening']} times the scale" if start == "guide" else "")
            + f": {best['beside_ours']:+.3f} ± {best['stderr']:.3f} nat beside ours at 400 "
            f"temperatures (linear, as it was begun with, {linear['beside_ours']:+.3f} ± "
            f"{linear['stderr']:.3f})"
        )
    return "TFP at equal calls of the walk, " + "; ".join(texts)


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
