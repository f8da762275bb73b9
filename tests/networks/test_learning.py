"""The networks in training: statistics, precisions, gradients, and how they begin."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from tiny import least, normal

from arm_jax import networks
from arm_jax.networks.parts import merged


def test_training_needs_a_dropout_key():
    with pytest.raises(ValueError, match="dropout_key"):
        nnx.eval_shape(lambda x: networks.training(least())(x), jnp.zeros((2, 32, 32, 3)))


def test_training_view_updates_the_models_own_statistics():

    def train(model, x, key):
        networks.training(model)(x, auxiliary=True, dropout_key=key)

    model, x = least(), normal(0, 2, 32, 32, 3)
    nnx.jit(train)(model, x, jax.random.key(0))
    # The first convolution sees the images themselves, so its statistics can be had by hand.
    first = model.backbone.stem.layers[0]
    seen = first.conv(x)
    np.testing.assert_allclose(first.norm.mean[...], 0.1 * seen.mean((0, 1, 2)), rtol=1e-4)
    expected = 0.9 + 0.1 * seen.var((0, 1, 2))
    np.testing.assert_allclose(first.norm.var[...], expected, rtol=1e-4)
    # Every BatchNorm of all three parts was reached.
    for path, mean in nnx.to_flat_state(nnx.state(model, nnx.BatchStat)):
        if path[-1] == "mean":
            assert np.any(np.asarray(mean[...]) != 0), path
    assert model.head.classifier.dropout.deterministic
    assert model.backbone.stem.layers[0].norm.use_running_average


@pytest.mark.parametrize("graph", [pytest.param(True, marks=pytest.mark.slow), False])
def test_training_step_under_plain_jit(graph):
    """The form the train step has: split, jit over the state, merge, differentiate, update."""
    with nnx.set_graph_mode(graph):
        model = least()
        optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)
        graphdef, state = nnx.split((model, optimizer))

        def objective(model, x, key):
            main, auxiliary = networks.training(model)(x, auxiliary=True, dropout_key=key)
            return jnp.mean(main**2) + jnp.mean(auxiliary**2)

        @jax.jit
        def step(state, x, key):
            model, optimizer = nnx.merge(graphdef, state)
            loss, gradients = nnx.value_and_grad(objective)(model, x, key)
            optimizer.update(model, gradients)
            return nnx.state((model, optimizer)), loss

        x = normal(0, 2, 32, 32, 3)
        after, loss = step(state, x, jax.random.key(0))
        again, loss_again = step(after, x, jax.random.key(0))
        before, _ = nnx.merge(graphdef, state)
        stepped, _ = nnx.merge(graphdef, after)
        twice, _ = nnx.merge(graphdef, again)
    assert 0 < float(loss_again) < float(loss)
    # The first convolution's statistics went the two ways towards what it sees.
    first = before.backbone.stem.layers[0]
    seen = first.conv(x).mean((0, 1, 2))
    np.testing.assert_allclose(
        stepped.backbone.stem.layers[0].norm.mean[...], 0.1 * seen, rtol=1e-3
    )
    moved = twice.backbone.stem.layers[0].norm.mean[...] - 0.9 * 0.1 * seen
    seen_then = stepped.backbone.stem.layers[0].conv(x).mean((0, 1, 2))
    np.testing.assert_allclose(moved, 0.1 * seen_then, rtol=1e-3, atol=1e-6)
    # Every other BatchNorm of the three parts was reached, and both classifiers moved.
    for path, mean in nnx.to_flat_state(nnx.state(stepped, nnx.BatchStat)):
        if path[-1] == "mean":
            assert np.any(np.asarray(mean[...]) != 0), path
    for head in ("head", "auxiliary_head"):
        kernels = [getattr(model, head).classifier.kernel[...] for model in (before, stepped)]
        assert np.abs(kernels[1] - kernels[0]).max() > 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_training_stays_close_to_float32(dtype):
    graphdef, state = nnx.split(least(dtype=dtype, dropout_rate=0.0))
    reference_graphdef, _ = nnx.split(least(dropout_rate=0.0))
    x = normal(0, 2, 32, 32, 3)

    def objective(model):
        main, auxiliary = networks.training(model)(x, auxiliary=True, dropout_key=jax.random.key(0))
        assert main.dtype == auxiliary.dtype == jnp.float32
        return jnp.mean(jnp.sin(40 * main)) + jnp.mean(jnp.sin(40 * auxiliary))

    @jax.jit
    def gradients(state, reference_state):
        model = nnx.merge(graphdef, state)
        reference = nnx.merge(reference_graphdef, reference_state)
        half = nnx.value_and_grad(objective)(model), nnx.state(model)
        return half, nnx.value_and_grad(objective)(reference)

    ((loss, gradient), after), (expected_loss, expected) = gradients(state, state)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((gradient, after)))
    assert abs(float(loss - expected_loss)) < 0.02
    got = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)])
    want = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(expected)])
    cosine = got @ want / np.linalg.norm(got) / np.linalg.norm(want)
    assert cosine > 0.95


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("deeplabv3plus_resnet101", "bfloat16"),
        ("ocr_resnet101", "float16"),
    ],
)
def test_full_size_networks_learn_in_half_precision(name, dtype):
    """A dozen steps on one batch of noise bring the loss down from log 19."""
    model = networks.create(name, 19, dtype=dtype, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.sgd(0.02, momentum=0.9), wrt=nnx.Param)
    graphdef, state = nnx.split((model, optimizer))
    x = normal(0, 2, 64, 64, 3)
    labels = jax.random.randint(jax.random.key(1), (2, 2, 2), 0, 19)

    @jax.jit(donate_argnames="state")
    def step(state, key):
        model, optimizer = nnx.merge(graphdef, state)

        def objective(model):
            main, auxiliary = networks.training(model)(x, auxiliary=True, dropout_key=key)
            truth = labels.repeat(main.shape[1] // 2, 1).repeat(main.shape[2] // 2, 2)
            coarse = labels.repeat(4, 1).repeat(4, 2)
            losses = optax.softmax_cross_entropy_with_integer_labels(main, truth)
            others = optax.softmax_cross_entropy_with_integer_labels(auxiliary, coarse)
            return losses.mean() + 0.4 * others.mean()

        loss, gradients = nnx.value_and_grad(objective)(model)
        optimizer.update(model, gradients)
        return nnx.state((model, optimizer)), loss

    history = []
    for number in range(12):
        state, loss = step(state, jax.random.key(number))
        history.append(float(loss))
    assert history[0] == pytest.approx(1.4 * np.log(19), rel=0.2)
    assert history[-1] < 0.7 * history[0]


def test_residual_branches_start_as_the_identity():
    model = least()
    for stage in model.backbone.stages:
        for block in stage:
            np.testing.assert_array_equal(block.conv2.norm.scale[...], 0.0)
            np.testing.assert_array_equal(block.conv1.norm.scale[...], 1.0)


def test_initial_deviations():
    model = networks.create("deeplabv3plus_resnet18", 19, rngs=nnx.Rngs(0))
    kernel = model.backbone.stages[2][1].conv2.conv.kernel[...]
    assert float(kernel.std()) == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.02)
    assert float(kernel.mean()) == pytest.approx(0.0, abs=1e-3)
    assert float(model.head.classifier.kernel[...].std()) == pytest.approx(0.01, rel=0.05)
    np.testing.assert_array_equal(model.head.classifier.bias[...], 0.0)


def test_seeds_make_the_weights():
    first, same, other = (
        least(rngs=nnx.Rngs(seed)).backbone.stages[0][0].conv1.conv.kernel[...]
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.slow
def test_rematerialisation_changes_neither_gradient_nor_statistics():
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))

    def found(remat):
        model = least(remat=remat)
        graphdef, params, statistics = nnx.split(model, nnx.Param, ...)

        @jax.jit
        def gradient(params, statistics):
            def total(params):
                model = merged(graphdef, params, statistics)
                scores = networks.training(model)(
                    images, auxiliary=True, dropout_key=jax.random.key(1)
                )
                return sum(jnp.sum(x**2) for x in scores), nnx.state(model, nnx.Not(nnx.Param))

            return jax.grad(total, has_aux=True)(params)

        text = str(jax.make_jaxpr(gradient)(params, statistics))
        return gradient(params, statistics), text.count("checkpoint") + text.count("remat")

    (plain, none), (again, some) = found(False), found(True)
    assert none == 0 and some > 0
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
