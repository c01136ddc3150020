"""What every kernel gives back for ONE x."""

from typing import NamedTuple

from jaxtyping import Array, Float, Int


class Kept(NamedTuple):
    """Kept draws of the chains of one x.

    Attributes:
        z: `[chain, draw, latent]`.
        log_density: of each draw in nats, `[chain, draw]`.
        energy: Hamiltonian where each draw's trajectory started in nats, `[chain, draw]`.
        accept: mean acceptance probability.
        diverging: how many transitions diverged.
    """

    z: Float[Array, "chain draw latent"]
    log_density: Float[Array, "chain draw"]
    energy: Float[Array, "chain draw"]
    accept: Float[Array, ""]
    diverging: Int[Array, ""]
