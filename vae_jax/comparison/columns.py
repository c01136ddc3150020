"""The columns of every table about inference, each with what it means: one wording everywhere."""

from vae_jax.tables import Column

METHOD = Column("method", "inference")
LOG_PROB = Column(
    "log_prob",
    "log p(x), nats",
    ".3f",
    "stderr",
    "mean over the same images, ± Monte Carlo standard error",
)
STDERR_IMAGES = Column(
    "stderr_images", "± over images", ".3f", meaning="what other images would change"
)
KIND = Column(
    "kind",
    "kind",
    meaning="'exact' is the value, 'lower' a bound below it in expectation",
)
BELOW_BEST = Column(
    "gap",
    "below best",
    ".3f",
    meaning="distance to the exact value, or where there is none to the highest bound",
)
MEAN_ERROR = Column(
    "mean_error",
    "mean error, sd",
    ".3f",
    meaning="root mean square distance of the posterior mean to the reference (exact, else MCMC), "
    "in posterior standard deviations",
)
COVERAGE = Column(
    "coverage",
    "90% coverage",
    ".3f",
    "coverage_stderr",
    "how often the central interval holds the true z of images simulated from the model (as many "
    "as test images); less than 0.9 is overconfident",
)
K_HAT = Column(
    "k_hat",
    "k-hat",
    ".2f",
    meaning="median Pareto shape of the importance weights, trust below 0.7",
)
VERDICT = Column(
    "verdict",
    "verdict",
    meaning="an image has converged with R-hat below 1.01, ESS of at least 100 per chain, E-BFMI "
    "of at least 0.3, no divergence; 'other modes' are those that the encoder misses",
)
MAX_RHAT = Column("rhat", "max R-hat", ".3f", meaning="worst latent of the worst image")
MIN_ESS = Column(
    "ess", "min ESS", ".0f", meaning="effective draws, worst latent of the worst image"
)
MIN_TAIL_ESS = Column(
    "ess_tail", "min tail ESS", ".0f", meaning="the same for the 5% and 95% quantiles"
)
MIN_EBFMI = Column("ebfmi", "min E-BFMI", ".2f", meaning="energy fraction of the worst chain")
DIVERGENCES = Column("diverging", "divergences", meaning="of all images")
DECODER_CALLS = Column(
    "decoder_calls",
    "decoder calls",
    ",.0f",
    meaning="evaluations or gradients of p(x|z) per image",
)
SECONDS = Column("seconds", "s / image", ".4f", meaning="compilation apart")
NUM_IMAGES = Column("num_images", "images")
