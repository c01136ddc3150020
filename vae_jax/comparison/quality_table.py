"""The table of sample quality: what each model draws, held against the test images."""

from vae_jax.comparison.scores import Scored
from vae_jax.quality import Quality
from vae_jax.tables import Column, Table

REAL = "real images (validation)"
"""What images of the data themselves reach, by the same measures."""

COLUMNS = [
    Column("model", "samples of"),
    Column(
        "mmd2",
        "MMD²",
        ".4f",
        meaning="of pixels, unbiased, a sum of Gaussian kernels around the median distance; 0 for "
        "images like the test images",
    ),
    Column("mmd_p", "p", ".3f", meaning="of MMD², by permutations"),
    Column(
        "kernel_distance",
        "kernel distance",
        ".4f",
        "kernel_distance_stderr",
        "cubic kernel on the features of a classifier trained here, ± jackknife standard error",
    ),
    Column("precision", "precision", ".2f", meaning="share of samples among the test images"),
    Column("recall", "recall", ".2f", meaning="share of test images among the samples"),
    Column(
        "two_sample_accuracy",
        "told apart",
        ".2f",
        meaning="accuracy of a network that tells samples from test images: 0.5 at best",
    ),
    Column(
        "close_share",
        "too close",
        ".2f",
        meaning="samples nearer to a training image than 95% of the test images are: more than "
        "0.05 are copies, or smoother than real images",
    ),
    Column("num_classes", "classes", "d", meaning="that the classifier finds among the samples"),
    Column("num_samples", "samples", "d"),
]


def rows(scored: list[list[Scored]], qualities: list[Quality], real: Quality, num: int) -> list:
    """The table "quality": one row per model, its first seed's samples, and real images.

    Args:
        scored: for each model its seeds.
        qualities: for each model.
        real: of real images.
        num: samples behind each.
    """
    names = [seeds[0].trained.title for seeds in scored]
    return [
        {"table": "quality", "model": name, "num_samples": num, **quality._asdict()}
        for name, quality in zip([*names, REAL], [*qualities, real], strict=True)
    ]


def table(found: list[dict]) -> Table:
    """The same as a person reads it."""
    note = "Features are the pixels themselves, as the images have no labels."
    is_pixels = any(row["features"] == "pixels" for row in found)
    return Table("What each model draws", found, COLUMNS, note if is_pixels else "")
