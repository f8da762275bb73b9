"""The Adversarial Reweighting Module (paper, Secs. 3.2 to 3.5) on plain arrays.

    logits --confidence--> v in [-1, 1] --Arm--> w in [0, 1] --normalize--> weights that sum to 1

Nothing here knows about images, networks or devices. Every function takes arrays of any leading
shape, and sums run over all of it: under `jax.jit` with a sharded batch they are sums over the
global batch. On a model of any framework, with `players = {"segmenter": ..., "arm": ...}` and an
optimiser that steps up for ARM (`optimizer.create`), the method is, inside the loss function,

    v = arm.confidence(logits)
    return arm.adversarial_objective(W, v, pixel_loss, valid).total
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.lax import stop_gradient

from arm_jax.softmax import log_softmax

CONFIDENCES = ("var", "std", "log_var", "entropy")

# Keeps the root of "std" differentiable at a variance of zero, without moving the value visibly.
STD_EPSILON = 1e-12
# Where "log_var" turns from linear to logarithmic, as a share of the largest variance.
LOG_VAR_EPSILON = 1e-3


def confidence(logits: jax.Array, kind: str = "var", detach: bool = True) -> jax.Array:
    """Confidence of each prediction, from -1 (uniform) to +1 (one-hot) (Secs. 3.2, 4.3).

    With p = softmax(logits), C classes and u = C/(C-1) sum_c (p_c - 1/C)^2 in [0, 1]:

        var      2u - 1
        std      2 sqrt(u) - 1
        log_var  2 log(1 + u/e) / log(1 + 1/e) - 1 with e = 1e-3; the plain logarithm is unbounded
        entropy  1 - 2 H(p) / log C

    Eq. 3 writes the variance as a sum over classes but gives the range of the *mean* over classes;
    only the mean maps to [-1, 1] as in Fig. 5, so it is the mean here. Entropy comes from the
    log-softmax, where sum p log p cannot become 0 * inf (NaN in the paper's Table 2).

    Args:
        logits: (..., C), any float dtype; computed in float32. C >= 2.
        kind: one of `CONFIDENCES`.
        detach: hide the confidence from the segmenter (Sec. 4.3, Table 1), by stopping the
            gradient at the logits.

    Returns:
        (...), float32, in [-1, 1].

    >>> print(confidence(jnp.log(jnp.array([[0.5, 0.5], [0.9, 0.1], [1.0, 0.0]]))).round(2))
    [-1.    0.28  1.  ]
    """
    classes = logits.shape[-1]
    if classes < 2:
        raise ValueError(f"confidence needs logits of at least 2 classes, got shape {logits.shape}")
    logits = logits.astype(jnp.float32)
    log_p = log_softmax(stop_gradient(logits) if detach else logits)
    p = jnp.exp(log_p)
    if kind == "entropy":
        # A class masked with -inf has p = 0 and adds nothing, but 0 * -inf would.
        surprise = jnp.where(p > 0, p * jnp.where(p > 0, log_p, 0.0), 0.0)
        return jnp.maximum(1.0 + 2.0 / jnp.log(float(classes)) * jnp.sum(surprise, -1), -1.0)
    spread = classes / (classes - 1) * jnp.sum(jnp.square(p - 1.0 / classes), -1)
    spread = jnp.minimum(spread, 1.0)  # rounding only
    if kind == "var":
        return 2.0 * spread - 1.0
    if kind == "std":
        return jnp.minimum(2.0 * jnp.sqrt(spread + STD_EPSILON) - 1.0, 1.0)
    if kind == "log_var":
        scale = jnp.log1p(1.0 / LOG_VAR_EPSILON)
        return jnp.minimum(2.0 * jnp.log1p(spread / LOG_VAR_EPSILON) / scale - 1.0, 1.0)
    raise ValueError(f"unknown kind of confidence {kind!r}; choose one of {', '.join(CONFIDENCES)}")


def uncertainty_confidence(log_s: jax.Array, detach: bool = True) -> jax.Array:
    """Confidence from the predicted uncertainty s of the KL loss (Eq. 1; Table 4): (1-s)/(1+s).

    The paper gives no map of s in (0, inf) to [-1, 1]; this one is tanh(-log(s)/2), which needs no
    constant. s -> 0 gives +1, s = 1 gives 0.

    Args:
        log_s: (...), log s as used in the loss, that is after its clipping.
        detach: as in `confidence`.

    >>> print(uncertainty_confidence(jnp.log(jnp.array([0.1, 10.0]))).round(2))
    [ 0.82 -0.82]
    """
    log_s = log_s.astype(jnp.float32)
    return jnp.tanh(-0.5 * (stop_gradient(log_s) if detach else log_s))


class Arm(nnx.Module):
    """W(v; theta_W): the learned map from confidence to sample weight (Fig. 3, Sec. 4.2).

    Four 1x1 convolutions on a scalar map, that is a perceptron 1-4-4-4-1 at every pixel, with
    biases, Swish between them and a final Sigmoid: 53 parameters. The paper names neither the
    widths nor the initialisation; 4-4-4 is the only choice of equal widths with 53 parameters, and
    LeCun-normal kernels with zero biases leave the initial plateau sooner than PyTorch's default.
    Always float32, whatever the precision of the segmenter: it is trained on sums over millions of
    pixels.

    >>> print(Arm(rngs=nnx.Rngs(0))(jnp.linspace(-1, 1, 5)).shape)
    (5,)
    """

    def __init__(self, hidden: Sequence[int] = (4, 4, 4), *, rngs: nnx.Rngs):
        widths = (1, *hidden, 1)
        self.layers = nnx.List(
            nnx.Linear(
                inputs,
                outputs,
                kernel_init=nnx.initializers.lecun_normal(),
                bias_init=nnx.initializers.zeros_init(),
                dtype=jnp.float32,
                precision=jax.lax.Precision.HIGHEST,  # the default is TF32 or bfloat16
                rngs=rngs,
            )
            for inputs, outputs in itertools.pairwise(widths)
        )

    def __call__(self, v: jax.Array) -> jax.Array:
        """Confidence (...) in [-1, 1] to weight (...) in (0, 1), float32."""
        x = v.astype(jnp.float32)[..., None]
        for layer in self.layers[:-1]:
            x = nnx.swish(layer(x))
        return nnx.sigmoid(self.layers[-1](x))[..., 0]


class LinearArm(nnx.Module):
    """W(v) = k v + b without parameters (Sec. 4.3): k < 0 suppresses the confident, k > 0 focuses.

    The default, on the variance, is the normalised Gini impurity of the prediction.

    >>> print(LinearArm()(jnp.array([-1.0, 0.0, 1.0])))
    [1.  0.5 0. ]
    """

    def __init__(self, k: float = -0.5, b: float = 0.5):
        self.k = k
        self.b = b

    def __call__(self, v: jax.Array) -> jax.Array:
        """Confidence (...) in [-1, 1] to weight (...), float32."""
        return self.k * v.astype(jnp.float32) + self.b


def normalize(
    weights: jax.Array, valid: jax.Array, p: float = 2.0, *, groups: int = 1
) -> jax.Array:
    """Divide the weight map by its p-norm and then by its 1-norm (Sec. 4.2), over valid pixels.

    The p-norm is differentiated and the 1-norm is a constant. That is the only reading under which
    p matters: w / |w|_p / |w / |w|_p|_1 equals w / |w|_1, so if both were differentiated then every
    p would behave as p = 1, which does not converge.

    Args:
        weights: (...), >= 0; those of invalid pixels are not read.
        valid: (...), bool.
        p: >= 1; Table 2 compares 1, 2 and 3.
        groups: how many consecutive parts of the first axis are normalised by themselves, each to
            an equal share of the whole: 1 for the global batch, the batch size for every image,
            the number of devices for what data-parallel training without shared norms would do.

    Returns:
        (...), float32: sums to 1 over the valid pixels and is 0 elsewhere. All zero, with zero
        gradient, where no pixel is valid or all weights are 0.

    >>> print(normalize(jnp.array([3.0, 1.0, 9.0]), jnp.array([True, True, False])))
    [0.75 0.25 0.  ]
    """
    if p < 1:
        raise ValueError(f"the norm needs p >= 1, got {p}")
    w = jnp.where(valid, weights.astype(jnp.float32), 0.0)
    w = w[None] if groups == 1 else w.reshape(groups, -1, *w.shape[1:])

    def total(x: jax.Array) -> jax.Array:
        return jnp.sum(x, axis=tuple(range(1, x.ndim)), keepdims=True)

    # The scale of W is free and drifts, so w^p could underflow; dividing by the peak changes
    # neither the value nor the gradient of w / |w|_p.
    peak = stop_gradient(jnp.max(w, axis=tuple(range(1, w.ndim)), keepdims=True))
    alive = peak > 0
    w = w / jnp.where(alive, peak, 1.0)
    exponent = int(p) if float(p).is_integer() else p
    w = w / jnp.where(alive, total(w**exponent), 1.0) ** (1.0 / p)
    one_norm = jnp.where(alive, stop_gradient(total(w)), 1.0)
    share = alive / jnp.maximum(jnp.sum(alive), 1)
    return (w * (share / one_norm)).reshape(weights.shape)


class Objective(NamedTuple):
    """What `adversarial_objective` returns. Only `total` carries gradients."""

    total: jax.Array  # scalar to differentiate: the value of `main`, the gradients of both players
    main: jax.Array  # scalar that the segmenter descends: `weighted` when coupled, else `plain`
    plain: jax.Array  # scalar, mean loss
    weighted: jax.Array  # scalar, loss under ARM's weights; equals `plain` without an ARM
    weights: jax.Array  # (...), ARM's normalised weights, coupled or not; uniform without an ARM
    pixels: jax.Array  # scalar int32, number of valid pixels

    @property
    def ratio(self) -> jax.Array:
        """Factor by which the reweighting scales the loss, `weighted / plain`; 1 without loss."""
        return jnp.where(
            self.plain > 0, self.weighted / jnp.where(self.plain > 0, self.plain, 1), 1
        )


def adversarial_objective(
    arm: Callable[[jax.Array], jax.Array] | None,
    confidence: jax.Array,
    pixel_loss: jax.Array,
    valid: jax.Array,
    *,
    coupled: jax.Array | bool = True,
    p: float = 2.0,
    detach: bool = True,
    signal: jax.Array | None = None,
    groups: int = 1,
    average_over: str = "valid",
    match: bool = False,
    weighed: jax.Array | None = None,
) -> Objective:
    """The objective of both players, Q = sum_i w_i l_i (Eqs. 6, 9), as one differentiable scalar.

    The gradient of `total` with respect to the segmenter is that of the loss under constant
    weights, and with respect to ARM that of Q under a constant loss: ARM's term has the value 0.
    Both are plain gradients. It is the optimiser that steps down the first and up the second.

    Until the two are `coupled` (Sec. 4.2: the first 0.05 T) the segmenter gets the plain mean loss,
    with exactly the gradient that it has without ARM, and ARM already climbs.

    Args:
        arm: W, any function of confidence (...) to weight (...), pixel by pixel: an `Arm`, a
            `LinearArm`, a closure over the parameters of another framework. None for no ARM.
        confidence: (...), in [-1, 1].
        pixel_loss: (...), >= 0 for the theorem of Sec. 3.4 to hold.
        valid: (...), bool. What stands in the other arrays at invalid pixels is not used.
        coupled: bool, may be traced.
        p: the norm of `normalize`.
        detach: stop the gradient from the segmenter's weights into `confidence`. For Table 1's
            collapse pass False here and to `confidence`.
        signal: (...), >= 0, the loss that ARM climbs, where it is not the segmenter's (a bounded
            or shifted one); default `pixel_loss`.
        groups: scope of the norms, see `normalize`.
        average_over: "valid" divides by the number of valid pixels; "all" by that of all pixels, as
            mmsegmentation does by default, so that sparsely labelled batches count less. Either
            way the weighted loss has the scale of the plain one.
        match: divide the segmenter's weighted loss by the constant weighted / plain. The weights
            then decide where its gradient comes from, and not how long its steps are: with the
            value of the plain loss, other terms keep their place beside it. ARM feels nothing.
        weighed: bool, broadcasts to (...): the pixels that take part in the game, all by default.
            The others keep the weight 1 of the plain mean, 1/N of N valid pixels. The weights of
            the M valid pixels that take part are normalised among themselves, to a sum of M/N, so
            that their mean is 1 as well. What ARM climbs is its objective on a batch of these M
            alone: neither the loss nor the number of the others reaches its gradient.

    >>> loss, v = jnp.array([1.0, 3.0]), jnp.array([1.0, -1.0])
    >>> found = adversarial_objective(LinearArm(), v, loss, jnp.ones(2, bool))
    >>> print(found.weights, found.plain, found.weighted)
    [0. 1.] 2.0 3.0
    """
    if average_over not in ("valid", "all"):
        raise ValueError(f'average_over must be "valid" or "all", got {average_over!r}')
    valid = valid.astype(bool)
    loss = jnp.where(valid, pixel_loss.astype(jnp.float32), 0.0)
    count = jnp.sum(valid, dtype=jnp.int32)
    denominator = jnp.maximum(count, 1) if average_over == "valid" else valid.size
    uniform = valid.astype(jnp.float32) / denominator
    scale = count / denominator  # what the weights of the loss sum to
    plain = jnp.sum(uniform * loss)
    if arm is None:
        weights = uniform / jnp.where(count > 0, scale, 1.0)
        fixed = jax.tree.map(stop_gradient, (plain, plain, plain, weights, count))
        return Objective(plain, *fixed)

    # M/N: what the weights of the pixels that take part sum to, in all.
    inside, gain_scale = valid, scale
    part, apart = jnp.float32(1), jnp.float32(0)
    if weighed is not None:
        weighed = jnp.broadcast_to(weighed.astype(bool), valid.shape)
        inside, out = valid & weighed, valid & ~weighed
        members = jnp.sum(inside, dtype=jnp.int32)
        part = members / jnp.maximum(count, 1)
        apart = out / jnp.maximum(count, 1)
        possible = jnp.sum(weighed, dtype=jnp.int32)
        gain_scale = jnp.where(
            members > 0, members / jnp.maximum(possible, 1) if average_over == "all" else 1.0, 0.0
        )

    v = jnp.where(inside, confidence.astype(jnp.float32), 0.0)
    # The slope is needed only to let the segmenter see W without moving ARM's parameters.
    constant_v = stop_gradient(v)
    if detach:
        raw = arm(constant_v)
    else:
        raw, slope = jax.jvp(arm, (constant_v,), (jnp.ones_like(v),))
    own = normalize(raw, inside, p, groups=groups)
    if detach:
        seen = stop_gradient(own)
    else:
        live = stop_gradient(raw) + stop_gradient(slope) * (v - constant_v)
        seen = normalize(live, inside, p, groups=groups)
    weights = own if weighed is None else part * own + apart
    weighted = scale * jnp.sum(weights * loss)
    if match:
        before, after = plain, weighted
        if weighed is not None:
            before = scale * jnp.sum(jnp.where(inside, loss, 0.0)) / jnp.maximum(count, 1)
            after = scale * jnp.sum(part * own * loss)
        usable = (before > 0) & (after > 0)
        ratio = stop_gradient(jnp.where(usable, after / jnp.where(usable, before, 1.0), 1.0))
        seen = seen / ratio
    if weighed is not None:
        seen = part * seen + apart
    main = jnp.sum(jnp.where(coupled, scale * seen, uniform) * loss)

    climbed = loss if signal is None else jnp.where(inside, signal.astype(jnp.float32), 0.0)
    gain = gain_scale * jnp.sum(own * stop_gradient(climbed))
    logged = jax.tree.map(stop_gradient, (main, plain, weighted, weights, count))
    return Objective(main + (gain - stop_gradient(gain)), *logged)
