"""Who takes part in a comparison: each row a system, how it is set, and how long it may train."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from bayes_jax.errors import InputError
from vae_jax import systems
from vae_jax.configs import Track, TrainConfig
from vae_jax.sharding import processes
from vae_jax.training import EpochReport

Histories = Mapping[str, Sequence[tuple[EpochReport, ...]]]
"""name of an entrant that is trained -> the history of each of its seeds."""


def _as_asked(loop: TrainConfig, histories: Histories) -> TrainConfig:
    del histories
    return loop


class Entrant(NamedTuple):
    """One row of the table of models.

    Attributes:
        system: key of `SYSTEMS`.
        title: what a person reads, with {0} for the system's config and {1} for the observation.
        options: of the config, beside the latent dimension.
        loop: `(the loop asked for, histories of those before) -> loop`.
        needs: entrants that must have been trained before it.
    """

    system: str
    title: str
    options: tuple[tuple[str, Any], ...] = ()
    loop: Callable[[TrainConfig, Histories], TrainConfig] = _as_asked
    needs: tuple[str, ...] = ()

    def config(self, latent_dim: int) -> Any:
        """The config of the system: defaults, but its options and the latent dimension it has."""
        config_type = systems.SYSTEMS[self.system].config
        options = dict(self.options)
        if any(field.name == "latent_dim" for field in fields(config_type)):
            options = {"latent_dim": latent_dim, **options}
        return config_type(**options)

    def titled(self, config: Any, head: Track) -> str:
        """What a person reads for it."""
        return self.title.format(config, head.capitalize())


def impatient(patience: int, loop: TrainConfig, histories: Histories) -> TrainConfig:
    """The loop asked for, with less patience: of models that soon overfit and whose epochs last.

    Args:
        patience: in epochs, at most that asked for.
        loop: as asked.
        histories: not looked at.
    """
    del histories
    return replace(loop, patience=min(patience, loop.patience))


def equal_epochs(other: str, loop: TrainConfig, histories: Histories) -> TrainConfig:
    """As many epochs as another entrant was trained; the best is kept, none ends it earlier.

    Args:
        other: the entrant; of several seeds the mean counts.
        loop: as asked.
        histories: with that of the other.
    """
    num_epochs = round(float(np.mean([len(history) for history in histories[other]])))
    return _unstopped(loop, num_epochs)


def equal_seconds(other: str, own: str, loop: TrainConfig, histories: Histories) -> TrainConfig:
    """As many epochs as take the seconds of another entrant, compilation apart; one at least.

    Args:
        other: the entrant whose seconds may be spent.
        own: an entrant of the same system, which tells the seconds of an epoch.
        loop: as asked.
        histories: of both.
    """
    seconds = np.mean([_epoch_seconds(history) * len(history) for history in histories[other]])
    per_epoch = np.mean([_epoch_seconds(history) for history in histories[own]])
    # Clocks differ between processes, and all must come to the same end.
    return _unstopped(loop, processes.largest(max(1, round(float(seconds / per_epoch)))))


def _unstopped(loop: TrainConfig, num_epochs: int) -> TrainConfig:
    if loop.schedule != "constant":
        raise InputError(
            f"train.schedule is {loop.schedule}: expected constant, for it would fall over other "
            "epochs in models that train as long as another"
        )
    return replace(loop, num_epochs=num_epochs, patience=num_epochs)


def _epoch_seconds(history: Sequence[EpochReport]) -> float:
    """Of a typical epoch, validation included; the first one compiles, where there are others."""
    return float(np.median([report.seconds for report in history[1:] or history]))


ENTRANTS: dict[str, Entrant] = {
    "vae": Entrant("vae", "seed VAE ({0.latent_dim}-d)"),
    "iwae": Entrant("iwae", "IWAE-{0.objective.num_samples} ({0.latent_dim}-d)"),
    "linear_vae": Entrant("linear_vae", "linear VAE ({0.latent_dim}-d)"),
    "deep_latent": Entrant(
        "deep_latent",
        "deep latent ({0.latent_dim}-d), the VAE's epochs",
        loop=partial(equal_epochs, "vae"),
        needs=("vae",),
    ),
    "deep_latent_seconds": Entrant(
        "deep_latent",
        "deep latent ({0.latent_dim}-d), the VAE's seconds",
        loop=partial(equal_seconds, "vae", "deep_latent"),
        needs=("vae", "deep_latent"),
    ),
    "bayesian_decoder": Entrant("bayesian_decoder", "Bayesian decoder ({0.latent_dim}-d)"),
    "gan": Entrant("gan", "GAN ({0.latent_dim}-d)", (("latent_dim", 10),)),
    "made": Entrant("autoregressive", "MADE"),
    "pixelcnn": Entrant(
        "autoregressive",
        "PixelCNN",
        (("network", "pixelcnn"), ("num_layers", 3)),
        partial(impatient, 10),
    ),
    "transformer": Entrant(
        "autoregressive",
        "transformer",
        (("network", "transformer"), ("num_layers", 2)),
        partial(impatient, 10),
    ),
    "ppca": Entrant("ppca", "PPCA ({0.latent_dim}-d)"),
    "factor_analysis": Entrant("factor_analysis", "factor analysis ({0.latent_dim}-d)"),
    "hmm": Entrant("hmm", "hidden Markov model ({0.num_states})"),
    "mixture": Entrant("mixture", "{1} mixture ({0.num_components})"),
    "mixture_of_factor_analysers": Entrant(
        "mixture_of_factor_analysers",
        "mixture of factor analysers ({0.num_components} x {0.latent_dim}-d)",
        (("latent_dim", 4),),
    ),
}
"""name on the command line -> row."""

CORE: dict[Track, tuple[str, ...]] = {
    "bernoulli": ("vae", "iwae", "mixture"),
    "gaussian": ("vae", "linear_vae", "ppca", "factor_analysis", "mixture"),
}
"""The few rows of a quick comparison."""

_OF_ONE_TRACK: dict[str, Track] = {
    "hmm": "bernoulli",
    "linear_vae": "gaussian",
    "ppca": "gaussian",
    "factor_analysis": "gaussian",
    "mixture_of_factor_analysers": "gaussian",
}


def track(head: Track, names: tuple[str, ...] = ("core",)) -> tuple[str, ...]:
    """The entrants of a track that are asked for, in the order in which they are trained.

    Args:
        head: how pixels are seen.
        names: "core", "all", or names of entrants.

    Raises:
        InputError: a name that is not in the track of this observation, or one that needs another.
    """
    every = tuple(name for name in ENTRANTS if _OF_ONE_TRACK.get(name, head) == head)
    if names in (("all",), ("core",)):
        return every if names == ("all",) else CORE[head]
    for name in names:
        if name not in every:
            raise InputError(
                f"models: {name!r} is no {head} model: expected core, all or some of "
                f"{', '.join(every)}"
            )
        for other in ENTRANTS[name].needs:
            if other not in names:
                raise InputError(f"models: {name} takes its budget from {other}: name it as well")
    return tuple(name for name in ENTRANTS if name in names)
