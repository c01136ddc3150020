"""Between NumPyro programs and LatentModels, both ways.

`to_numpyro` writes a LatentModel as a NumPyro program. `from_numpyro` reads any NumPyro program as
a LatentModel: all its latent sites become one flat vector z in R^latent through NumPyro's own maps
from the unconstrained space, with their Jacobians in the prior, and the observed site becomes
p(x | z). `constrain_latents` takes a z back to the values of the sites.
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.tree_util import Partial, PyTreeDef, register_static
from jaxtyping import Array, Float
from numpyro.distributions import Distribution, ImproperUniform, biject_to, constraints
from numpyro.distributions.distribution import MaskedDistribution
from numpyro.handlers import seed, substitute, trace

from bayes_jax.errors import InputError
from bayes_jax.model import LatentModel


def to_numpyro(model: LatentModel) -> Callable:
    """A NumPyro program of the model, for NumPyro's own samplers and SVI.

    Args:
        model: the model.

    Returns:
        `program(x=None)`, with the sites "z" (latent) and "x" (observed where x is given).
    """

    def program(x=None):
        z = numpyro.sample("z", model.prior)
        return numpyro.sample("x", model.likelihood(z), obs=x)

    return program


def from_numpyro(fn: Callable, *args: Any, observed: str = "x", **kwargs: Any) -> LatentModel:
    """The NumPyro program `fn(*args, **kwargs)` as a LatentModel on the unconstrained space.

    Engines compile once for all models from the same `fn` with equal arguments, of which arrays
    may differ in their values. So make `fn` once (a lambda in a loop is a new function each time)
    and pass numbers that change as arrays.

    Args:
        fn: a NumPyro program. Supports may depend on other sites; sites may lie inside plates.
        *args: of fn. Data for the observed site are not needed, and not looked at.
        observed: the site that is x: one x is the whole site, its plates included.
        **kwargs: of fn.

    Returns:
        A LatentModel whose z holds all other sample sites, in the order of the program.

    Raises:
        InputError: naming the site, if the observed one is absent, or another one is discrete,
            improper, masked, subsampled, itself observed, or sampled after the observed one.

    Example:
        >>> def coin(x=None):
        ...     bias = numpyro.sample("bias", dist.Beta(2.0, 2.0))
        ...     numpyro.sample("x", dist.Bernoulli(bias).expand([10]), obs=x)
        >>> model = from_numpyro(coin)
    """
    leaves, treedef = jax.tree.flatten((args, kwargs))
    dynamic = [isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves]
    arrays = [leaf for leaf, array in zip(leaves, dynamic, strict=True) if array]
    # With their types: 1, 1.0 and True are equal, the programs they make are not.
    static = tuple(
        None if array else (type(leaf), leaf) for leaf, array in zip(leaves, dynamic, strict=True)
    )
    for pair in static:
        if pair is not None and not isinstance(pair[1], Hashable):
            raise InputError(f"argument {pair[1]!r} is no array and not hashable: pass an array")
    program = _Program(fn, treedef, static, observed)
    program = replace(program, sites=_find_sites(program, arrays))
    return LatentModel(SitesPrior(program, arrays), Partial(_likelihood, program, arrays))


def constrain_latents(model: LatentModel, z: Float[Array, " latent"]) -> dict[str, Array]:
    """The values of the program's sites at one z, on their own (constrained) scale.

    Args:
        model: from `from_numpyro`.
        z: one latent vector; `jax.vmap` this function over draws.

    Returns:
        Site name -> value, deterministic sites before the observed one included.

    Raises:
        InputError: for a model that is not from `from_numpyro`.
    """
    if not isinstance(model.prior, SitesPrior):
        raise InputError("the model is not from from_numpyro: its z has no named sites")
    program = model.prior.program
    values = {}
    for name, site in _run(program, model.prior.arrays, jax.random.key(0), z).items():
        if name == program.observed:
            break
        if site["type"] in ("sample", "deterministic"):
            values[name] = site["value"]
    return values


@register_static
@dataclass(frozen=True)
class _Program:
    """A NumPyro program and all that is static about its arguments: equal programs, one compile."""

    fn: Callable
    treedef: PyTreeDef
    static: tuple  # one entry per argument leaf: None for an array, else (type, value)
    observed: str
    sites: tuple[tuple[str, tuple[int, ...]], ...] = ()  # name and unconstrained shape

    @property
    def latent_dim(self) -> int:
        return sum(math.prod(shape) for _, shape in self.sites)

    def arguments(self, arrays):
        arrays = iter(arrays)
        leaves = [next(arrays) if pair is None else pair[1] for pair in self.static]
        return jax.tree.unflatten(self.treedef, leaves)

    def split(self, z) -> dict[str, Array]:
        sizes = [math.prod(shape) for _, shape in self.sites]
        parts = jnp.split(z, np.cumsum(sizes)[:-1])
        return {
            name: part.reshape(shape) for (name, shape), part in zip(self.sites, parts, strict=True)
        }


class SitesPrior(Distribution):
    """p(z) of a NumPyro program: its latent sites on the unconstrained space, as one vector.

    Attributes:
        program: the program and its static arguments.
        arrays: its array arguments.
    """

    support = constraints.real_vector
    pytree_data_fields = ("arrays",)
    pytree_aux_fields = ("program",)

    def __init__(self, program: _Program, arrays: list, *, validate_args=None):
        self.program, self.arrays = program, arrays
        super().__init__((), (program.latent_dim,), validate_args=validate_args)

    def sample(self, key, sample_shape=()):
        """Run the program forward and map its latent sites to the unconstrained space."""

        def draw(key):
            sites = _run(self.program, self.arrays, key)
            parts = [_unconstrain(sites[name]).ravel() for name, _ in self.program.sites]
            return jnp.concatenate(parts)

        keys = jax.random.split(key, math.prod(sample_shape))
        return jax.vmap(draw)(keys).reshape(*sample_shape, *self.event_shape)

    def log_prob(self, value):
        """log p(sites) + log|det d sites / dz|, in nats."""
        return jnp.vectorize(self._log_prob, signature="(latent)->()")(value)

    def _log_prob(self, z):
        unconstrained = self.program.split(z)
        sites = _run(self.program, self.arrays, jax.random.key(0), z)
        return sum(_site_log_prob(sites[name], u) for name, u in unconstrained.items())


def _likelihood(program, arrays, z) -> Distribution:
    sites = _run(program, arrays, jax.random.key(0), z)
    distribution = sites[program.observed]["fn"]
    return distribution.to_event(len(distribution.batch_shape))


def _run(program, arrays, key, z=None) -> dict[str, dict]:
    """Trace of the program, its latent sites drawn, or put where z says."""
    places = {} if z is None else program.split(z)

    def place(site):
        if site["name"] in places:
            return biject_to(site["fn"].support)(places[site["name"]])
        return None

    args, kwargs = program.arguments(arrays)
    placed = substitute(seed(program.fn, key), substitute_fn=place)
    return trace(placed).get_trace(*args, **kwargs)


def _unconstrain(site) -> Array:
    return biject_to(site["fn"].support).inv(site["value"])


def _site_log_prob(site, unconstrained) -> Float[Array, ""]:
    log_det = biject_to(site["fn"].support).log_abs_det_jacobian(unconstrained, site["value"])
    return jnp.sum(site["fn"].log_prob(site["value"])) + jnp.sum(log_det)


def _find_sites(program, arrays) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Names and unconstrained shapes of the latent sites, refusing what has no density in R^d."""
    shapes, seen = {}, []

    def inspect(site):
        if site["type"] != "sample":
            return
        if site["name"] == program.observed:
            seen.append(site["name"])
            _refuse(site, {"is subsampled: give its plate all rows": _is_scaled(site)})
            return
        _refuse(site, _defects(site, after_observed=bool(seen)))
        transform = biject_to(site["fn"].support)
        shapes[site["name"]] = transform.inverse_shape(site["fn"].shape())

    def run(arrays):
        args, kwargs = program.arguments(arrays)
        substitute(seed(program.fn, jax.random.key(0)), substitute_fn=inspect)(*args, **kwargs)

    jax.eval_shape(run, arrays)
    if not seen:
        raise InputError(
            f"the program has no site {program.observed!r}, only {', '.join(shapes) or 'none'}: "
            "name the observed one by observed="
        )
    if not shapes:
        raise InputError(f"the program has no latent site besides {program.observed!r}")
    return tuple(shapes.items())


def _defects(site, after_observed: bool) -> dict[str, bool]:
    return {
        "is discrete: sum it out first": site["fn"].is_discrete,
        "has data or is a factor: only the observed site may have": site["is_observed"],
        "has an improper prior, which cannot be sampled: give it a proper one": _is_a(
            site["fn"], ImproperUniform
        ),
        "is masked, so its prior is not normalised: drop the mask": _is_a(
            site["fn"], MaskedDistribution
        ),
        "is subsampled or scaled: give its plate all rows": _is_scaled(site),
        "is sampled after the observed one: move it before": after_observed,
    }


def _refuse(site, defects: dict[str, bool]) -> None:
    for words, found in defects.items():
        if found:
            raise InputError(f"site {site['name']!r} {words}")


def _is_scaled(site) -> bool:
    return site["scale"] is not None and site["scale"] != 1


def _is_a(distribution, kind) -> bool:
    while not isinstance(distribution, kind):
        if not hasattr(distribution, "base_dist"):
            return False
        distribution = distribution.base_dist
    return True
