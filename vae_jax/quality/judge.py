"""All measures of one set of generated images, by a judge who is trained once for many models.

No network is downloaded: features come from a classifier of the training images, or are the pixels
themselves. Real images are test images, so that a copy of the training images gains nothing.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Num, PRNGKeyArray

from bayes_jax.errors import InputError
from vae_jax.quality.classifier import Classifier, fit_classifier
from vae_jax.quality.coverage import class_shares, count_classes
from vae_jax.quality.kernel_distance import kernel_distance
from vae_jax.quality.manifold import precision_recall
from vae_jax.quality.memorisation import memorisation
from vae_jax.quality.mmd import mmd_test
from vae_jax.quality.two_sample import two_sample_test

NUM_NEIGHBOURS = 3
"""Of precision and recall, as in their paper."""

# Their shapes are looked at here, for a message that a person can read.
Images = Num[Array | np.ndarray, "..."]
Labels = Integer[Array | np.ndarray, "..."]


class Quality(NamedTuple):
    """How generated images compare with test images.

    Attributes:
        mmd2: unbiased MMD^2 of pixels, see `mmd_test`; 0 for images like the test images.
        mmd_p: its permutation p value.
        kernel_distance: unbiased cubic MMD^2 of features, see `kernel_distance`; 0 at best.
        kernel_distance_stderr: its jackknife standard error.
        precision: share of generated images among the test images, by features.
        recall: share of test images among the generated images, by features.
        two_sample_accuracy: of a network that tells generated from test images; 0.5 at best.
        two_sample_p: probability of such an accuracy by chance.
        close_share: of generated images nearer to a training image than all but 5 % of the test
            images; above 0.05 there are copies, or images smoother than real ones.
        copying_p: p value of the data-copying test; small for a model that copies.
        num_classes: classes that it generates, of those of the training images; None without
            labels.
        features: what `kernel_distance`, `precision` and `recall` look at: `classifier` or
            `pixels`.
    """

    mmd2: float
    mmd_p: float
    kernel_distance: float
    kernel_distance_stderr: float
    precision: float
    recall: float
    two_sample_accuracy: float
    two_sample_p: float
    close_share: float
    copying_p: float
    num_classes: int | None
    features: Literal["classifier", "pixels"]


class Judge(NamedTuple):
    """What the models of one data set are judged by.

    Attributes:
        train: training images, float32.
        test: test images.
        classifier: of the training images; None without labels.
        shares: of the classes among the training images; None without labels.
        loc: mean of the training images' features, `[feature]`.
        scale: root mean variance of the features; with it their distances mean the same everywhere.
    """

    train: Float[Array, "train dim"]
    test: Float[Array, "test dim"]
    classifier: Classifier | None
    shares: Float[Array, " class"] | None
    loc: Float[Array, " feature"]
    scale: Float[Array, ""]

    def features(self, x: Float[Array, "num dim"]) -> Float[Array, "num feature"]:
        """Features of images, centred and of mean variance 1 on the training images."""
        return (_raw_features(self.classifier, x) - self.loc) / self.scale


def make_judge(
    key: PRNGKeyArray,
    train: Images,
    test: Images,
    *,
    train_labels: Labels | None = None,
) -> Judge:
    """Train the classifier, if there are labels to train it by.

    Args:
        key: of the training.
        train: training images `[num, dim]`: bits, or pixels in (0, 1).
        test: test images; their number and that of generated images set the size of the tests.
        train_labels: `[num]`, classes 0, 1, ...; without them features are pixels.

    Raises:
        InputError: images or labels that cannot be used.
    """
    train = _checked(train, "train")
    test = _checked(test, "test", train.shape[1])
    classifier, shares = None, None
    if train_labels is not None:
        labels = _checked_labels(train_labels, len(train))
        num_classes = int(labels.max()) + 1
        classifier = fit_classifier(key, train, labels, num_classes=num_classes)
        shares = class_shares(labels, num_classes=num_classes)
    raw = _raw_features(classifier, train)
    scale = jnp.sqrt(jnp.mean(jnp.var(raw, axis=0)))
    # Training images that are all alike have no scale.
    scale = jnp.where(scale > 0, scale, 1.0)
    return Judge(train, test, classifier, shares, jnp.mean(raw, axis=0), scale)


def assess(
    key: PRNGKeyArray, judge: Judge, generated: Images, *, num_permutations: int = 500
) -> Quality:
    """Hold generated images against the test images.

    Compare models at one number of images, on which recall depends, and for which it compiles once;
    validation images in their place say what real images reach.

    Args:
        key: of permutations, halves and the two-sample network.
        judge: of the data.
        generated: `[num, dim]`, of the kind of the training images: bits are told from their means.
        num_permutations: of the MMD test.

    Raises:
        InputError: images of another width, fewer than 4, or pixels that are not finite.
    """
    x, test = _checked(generated, "generated", judge.test.shape[1]), judge.test
    key_mmd, key_classifier = jax.random.split(key)
    features = judge.features(test), judge.features(x)
    mmd = mmd_test(key_mmd, x, test, num_permutations=num_permutations)
    distance = kernel_distance(*features)
    manifold = precision_recall(*features, num_neighbours=NUM_NEIGHBOURS)
    found = two_sample_test(key_classifier, x, test)
    copies = memorisation(x, judge.train, test)
    return Quality(
        *(float(value) for value in (*mmd, *distance, *manifold, *found, *copies)),
        num_classes=_count_classes(judge, x),
        features="pixels" if judge.classifier is None else "classifier",
    )


def _raw_features(classifier, x):
    return x if classifier is None else classifier.features(x)


def _count_classes(judge, x):
    if judge.classifier is None:
        return None
    shares = class_shares(judge.classifier.classify(x), num_classes=len(judge.shares))
    return int(count_classes(shares, judge.shares))


def _checked(x, name, dim=None):
    """Images in float32."""
    if np.ndim(x) != 2 or np.shape(x)[1] != (dim or np.shape(x)[1]):
        raise InputError(f"{name} images of shape {np.shape(x)}: expected (num, {dim or 'dim'})")
    if len(x) <= NUM_NEIGHBOURS:
        raise InputError(f"{len(x)} {name} images: expected at least {NUM_NEIGHBOURS + 1}")
    x = jnp.asarray(x, jnp.float32)
    bad = np.flatnonzero(~np.isfinite(np.asarray(x)).all(axis=1))
    if len(bad):
        raise InputError(f"{name}[{bad[0]}] holds NaN or infinity: expected finite pixels")
    return x


def _checked_labels(labels, num):
    if np.shape(labels) != (num,) or np.min(labels) < 0:
        raise InputError(
            f"train_labels of shape {np.shape(labels)} from {np.min(labels)}: "
            f"expected ({num},) from 0"
        )
    return jnp.asarray(labels, jnp.int32)
