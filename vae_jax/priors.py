"""Priors p(z) over latent vectors."""

import numpyro.distributions as dist


def standard_normal(latent_dim: int) -> dist.Distribution:
    """p(z) = N(0, I), event shape `[latent_dim]`."""
    return dist.Normal(0.0, 1.0).expand([latent_dim]).to_event(1)
