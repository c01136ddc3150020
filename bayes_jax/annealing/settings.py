"""What is fixed when annealing compiles, and what makes no sense."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayes_jax.annealing.moves import NUM_LEAPFROGS, TRANSITIONS
from bayes_jax.annealing.path import check_gaussian
from bayes_jax.annealing.schedules import FIXED_SCHEDULES, check_schedule
from bayes_jax.errors import InputError
from bayes_jax.model import Guide, LatentModel

#: A name of `ScheduleName`, or the temperatures themselves.
Schedule = str | Float[Array | np.ndarray, " step"]

# A start at the prior has farther to go.
TEMPERATURES_WITH_GUIDE, TEMPERATURES_WITHOUT = 100, 1000


class Settings(NamedTuple):
    """What is fixed at compile time.

    Attributes:
        num_chains: independent weights per x.
        num_temperatures: steps from start to posterior.
        schedule: by name; "given" where the temperatures came as an array.
        transition: "hmc", "hmc_bfloat16", or "elliptical" slices where the start is Gaussian.
        num_leapfrogs: gradients per move of "hmc".
        batch_size: observations in memory at once; None takes all.
    """

    num_chains: int = 16
    num_temperatures: int = TEMPERATURES_WITH_GUIDE
    schedule: str = "sigmoid"
    transition: str = "hmc"
    num_leapfrogs: int = NUM_LEAPFROGS
    batch_size: int | None = None


def make_settings(
    model: LatentModel,
    guide: Guide | None,
    *,
    num_chains: int = 16,
    num_temperatures: int | None = None,
    schedule: Schedule = "sigmoid",
    transition: str = "hmc",
    num_leapfrogs: int = NUM_LEAPFROGS,
    batch_size: int | None = None,
) -> tuple[Settings, Float[Array, " step"]]:
    """Settings and inverse temperatures of a walk, checked.

    Returns:
        The settings, and betas `[num_temperatures + 1]`; of an adaptive schedule only their number
        counts.

    Raises:
        InputError: naming what was found and what is expected.
    """
    check_schedule(schedule)
    if not isinstance(schedule, str):
        num_steps = len(schedule) - 1
        if num_temperatures not in (None, num_steps):
            raise InputError(
                f"num_temperatures is {num_temperatures} and schedule has {num_steps} steps: "
                "give one of them, or both alike"
            )
        num_temperatures = num_steps
    if num_temperatures is None:
        num_temperatures = TEMPERATURES_WITHOUT if guide is None else TEMPERATURES_WITH_GUIDE
    for name, value, least in (
        ("num_chains", num_chains, 1),
        ("num_temperatures", num_temperatures, 2),
        ("num_leapfrogs", num_leapfrogs, 1),
    ):
        if value < least:
            raise InputError(f"{name} is {value}: expected at least {least}")
    if transition not in TRANSITIONS:
        raise InputError(f"transition is {transition!r}: expected {', '.join(TRANSITIONS)}")
    if transition == "elliptical" and guide is None:
        check_gaussian(model.prior)
    if isinstance(schedule, str):
        named = FIXED_SCHEDULES.get(schedule, FIXED_SCHEDULES["sigmoid"])
        name, betas = schedule, named(num_temperatures)
    else:
        name, betas = "given", jnp.asarray(schedule, float)
    settings = Settings(num_chains, num_temperatures, name, transition, num_leapfrogs, batch_size)
    return settings, betas
