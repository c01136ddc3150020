"""Sample quality without downloaded networks: arrays in, numbers out.

Images, in the order of the imports: `distances`, then the measures, each alone - `mmd` (pixels),
`kernel_distance` and `manifold` (features), `memorisation`, `two_sample`, `coverage` - with
`classifier`, from which features come; and `judge`, which takes them all. Sentences:
`ngram_overlap`, and `sentences`, which takes all that is measured of them.
"""

from vae_jax.quality.judge import Judge, Quality, assess, make_judge

__all__ = ["Judge", "Quality", "assess", "make_judge"]
