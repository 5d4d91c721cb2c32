"""Losses: values against MONAI and plain definitions, gradients against finite differences, half precision, flats."""

import numpy as np
import pytest
import torch
from deepregister.similarity.lncc import LocalCorrelation
from deepregister.training.losses import (
    CHARBONNIER_MM,
    dice_loss,
    endpoint_loss,
    local_correlation_loss,
    smoothness_loss,
    velocity_kl_loss,
)
from torch.distributions import MultivariateNormal, kl_divergence

SHAPE = (7, 8, 9)


def uniform(seed, *shape, dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(seed).uniform(size=shape)).to(dtype)


def images(seed=0, batch=2, dtype=torch.float64):
    return uniform(seed, batch, 1, *SHAPE, dtype=dtype), uniform(seed + 1, batch, 1, *SHAPE, dtype=dtype)


def same_by_finite_differences(loss, *inputs):
    inputs = [value.clone().requires_grad_(True) for value in inputs]
    return torch.autograd.gradcheck(loss, inputs, eps=1e-5, atol=1e-7, rtol=1e-4)


# Local correlation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [1, 2])
def test_local_correlation_is_monais_where_windows_are_whole(radius):
    from monai.losses import LocalNormalizedCrossCorrelationLoss

    fixed, warped = images(batch=3)
    # A rim of zeros: MONAI counts voxels outside the image as zeros, ours does not count them. Large values: the noise
    # floor, which MONAI has not, is nothing beside them.
    fixed, warped = (100 * torch.nn.functional.pad(image, [2 * radius] * 6) for image in (fixed, warped))
    theirs = LocalNormalizedCrossCorrelationLoss(kernel_size=2 * radius + 1, reduction="none")(warped, fixed)
    count = torch.nn.functional.avg_pool3d(torch.ones_like(fixed), 2 * radius + 1, 1, radius)
    expected = 1 + float((theirs * count).sum() / count.sum())
    assert float(local_correlation_loss(fixed, warped, radius)) == pytest.approx(expected, abs=1e-5)


def test_local_correlation_is_the_measure_that_the_instance_optimisation_climbs():
    fixed, warped = images(batch=1)
    weight = uniform(5, 1, 1, *SHAPE)
    for weights in (None, weight):
        value = LocalCorrelation(fixed, 2, weights).value(warped)
        assert float(local_correlation_loss(fixed, warped, 2, weights)) == pytest.approx(1 - value, rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_of_local_correlation_into_both_images_agree_with_finite_differences(weighted):
    weight = uniform(2, 2, 1, *SHAPE) if weighted else None
    fixed, warped = (image[:, :, :5, :5, :5] for image in images())
    weight = None if weight is None else weight[:, :, :5, :5, :5]
    assert same_by_finite_differences(lambda f, w: local_correlation_loss(f, w, 1, weight), fixed, warped)


def test_local_correlation_of_a_batch_is_the_mean_of_its_samples():
    fixed, warped = images(batch=3)
    single = [float(local_correlation_loss(fixed[n : n + 1], warped[n : n + 1])) for n in range(3)]
    assert float(local_correlation_loss(fixed, warped)) == pytest.approx(np.mean(single), rel=1e-9)


def test_local_correlation_ignores_brightness_and_inversion_but_not_motion():
    fixed = torch.nn.functional.interpolate(uniform(0, 1, 1, 5, 5, 5), size=(20, 20, 20), mode="trilinear")
    same = float(local_correlation_loss(fixed, fixed))
    assert float(local_correlation_loss(fixed, 1 - 0.8 * fixed)) == pytest.approx(same, abs=0.01)
    assert float(local_correlation_loss(fixed, fixed.roll(3, 4))) > same + 0.1


def test_flat_regions_have_no_gradient_to_speak_of_even_when_bright():
    structure = uniform(0, 1, 1, 24, 24, 24, dtype=torch.float32)
    noise = 1e-4 * uniform(1, 1, 1, 24, 24, 24, dtype=torch.float32)
    fixed, warped = structure.clone(), structure.roll(1, 4)
    fixed[..., 12:], warped[..., 12:] = 0.9 + noise[..., 12:], 0.9 + noise.flip(2)[..., 12:]
    warped.requires_grad_(True)
    local_correlation_loss(fixed, warped).backward()
    assert torch.isfinite(warped.grad).all()
    flat, textured = warped.grad[..., 16:].abs().max(), warped.grad[..., :8].abs().median()
    assert float(flat) < 0.02 * float(textured)


def test_empty_images_give_a_finite_loss_and_no_gradient():
    warped = torch.zeros(1, 1, 6, 6, 6, requires_grad=True)
    for weight in (None, torch.zeros(1, 1, 6, 6, 6)):
        loss = local_correlation_loss(torch.zeros(1, 1, 6, 6, 6), warped, 2, weight)
        (gradient,) = torch.autograd.grad(loss, warped)
        assert loss.item() == 1 and not gradient.any()


# Dice -----------------------------------------------------------------------------------------------------------------


def test_dice_is_monais():
    from monai.losses import DiceLoss

    fixed, warped = uniform(0, 2, 4, *SHAPE).softmax(1), (3 * uniform(1, 2, 4, *SHAPE)).softmax(1)
    assert float(dice_loss(fixed, warped)) == pytest.approx(float(DiceLoss(soft_label=False)(warped, fixed)), abs=1e-6)


def test_dice_leaves_out_structures_that_the_fixed_image_does_not_show_only():
    fixed, warped = torch.zeros(2, 3, *SHAPE), torch.zeros(2, 3, *SHAPE)
    fixed[:, 0, :3], warped[:, 0, :3] = 1, 1
    fixed[0, 1, 4:] = 1
    warped[:, 2, 5:] = 1
    # Shown: structure 0 twice, matched; structure 1 once, lost on the way.
    assert float(dice_loss(fixed, warped)) == pytest.approx(1 / 3)


def test_gradient_of_dice_agrees_with_finite_differences():
    fixed, warped, weight = uniform(0, 2, 2, 3, 4, 3), uniform(1, 2, 2, 3, 4, 3), uniform(2, 2, 1, 3, 4, 3)
    assert same_by_finite_differences(lambda f, w: dice_loss(f, w, weight), fixed, warped)
    assert same_by_finite_differences(dice_loss, fixed, warped)


# Smoothness -----------------------------------------------------------------------------------------------------------


def polynomial(*powers, batch=1):
    """A field whose every component is a polynomial of the voxel's indices, of random coefficients."""
    rng = np.random.default_rng(3)
    z, y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in SHAPE), indexing="ij")
    terms = np.stack([x**a * y**b * z**c for a, b, c in powers])
    return torch.from_numpy(np.tensordot(rng.normal(size=(batch, 3, len(powers))), terms, 1))


LINEAR = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
QUADRATIC = [*LINEAR, (2, 0, 0), (0, 2, 0), (0, 0, 2), (1, 1, 0), (1, 0, 1), (0, 1, 1)]


@pytest.mark.filterwarnings("ignore:Using a non-tuple")
def test_smoothness_is_monais():
    from monai.losses import BendingEnergyLoss, DiffusionLoss

    # Where all differences are exact, whatever their stencils.
    linear, quadratic = polynomial(*LINEAR, batch=2), polynomial(*QUADRATIC, batch=2)
    assert float(smoothness_loss(linear)) == pytest.approx(float(DiffusionLoss()(linear)), rel=1e-9)
    expected = float(BendingEnergyLoss()(quadratic))
    assert float(smoothness_loss(quadratic, "bending")) == pytest.approx(expected, rel=1e-9)


def test_smoothness_leaves_free_what_it_should():
    assert float(smoothness_loss(polynomial((0, 0, 0)))) == pytest.approx(0, abs=1e-20)
    assert float(smoothness_loss(polynomial(*LINEAR), "bending")) == pytest.approx(0, abs=1e-20)
    assert float(smoothness_loss(torch.ones(1, 3, 1, 2, 1), "bending")) == 0


@pytest.mark.parametrize("kind", ["diffusion", "bending"])
def test_gradient_of_smoothness_agrees_with_finite_differences(kind):
    assert same_by_finite_differences(lambda v: smoothness_loss(v, kind), uniform(0, 2, 3, 3, 4, 5))


def test_an_unknown_smoothness_is_refused_by_name():
    with pytest.raises(ValueError, match=r'"rough".*"bending"'):
        smoothness_loss(torch.zeros(1, 3, 4, 4, 4), "rough")


# Known fields ---------------------------------------------------------------------------------------------------------


def test_end_point_error_is_the_distance_in_mm():
    field, truth = torch.zeros(2, 3, *SHAPE), torch.zeros(2, 3, *SHAPE)
    truth[:, 0], truth[:, 2] = 3, 2
    assert float(endpoint_loss(field, truth, spacing=(1, 1, 2))) == pytest.approx(5, abs=CHARBONNIER_MM)
    assert float(endpoint_loss(field, truth, spacing=10)) == pytest.approx(10 * 13**0.5, abs=CHARBONNIER_MM)
    assert float(endpoint_loss(truth, truth)) == 0
    weight = torch.zeros(2, 1, *SHAPE)
    weight[..., :4] = 1
    truth[..., 4:] = 100
    assert float(endpoint_loss(field, truth, weight, (1, 1, 2))) == pytest.approx(5, abs=CHARBONNIER_MM)


def test_gradient_of_end_point_error_agrees_with_finite_differences_also_at_the_truth():
    field, truth, weight = uniform(0, 2, 3, 3, 4, 3), uniform(1, 2, 3, 3, 4, 3), uniform(2, 2, 1, 3, 4, 3)
    truth[:, :, 0] = field[:, :, 0]
    assert same_by_finite_differences(lambda f: endpoint_loss(f, truth, weight, (1.0, 2.0, 3.0)), field)
    assert same_by_finite_differences(lambda f: endpoint_loss(f, truth), field)


# Uncertainty ----------------------------------------------------------------------------------------------------------


def test_divergence_is_that_of_the_full_normal_distributions():
    prior, shape = 5.0, (2, 3, 2)
    size = int(np.prod(shape))
    index = np.arange(size).reshape(shape)
    precision = np.zeros((size, size))
    for axis in range(3):
        a, b = (np.take(index, range(s, shape[axis] - 1 + s), axis).ravel() for s in (0, 1))
        for m, n in zip(a, b, strict=True):
            precision[[m, n, m, n], [m, n, n, m]] += (prior, prior, -prior, -prior)
    # The Laplacian leaves the mean free: without a trace of the identity there is no such distribution.
    smooth = MultivariateNormal(
        torch.zeros(size, dtype=torch.float64),
        precision_matrix=torch.from_numpy(precision) + 1e-9 * torch.eye(size, dtype=torch.float64),
    )

    def full(mean, log_variance):
        parts = zip(mean[0].flatten(1), log_variance[0].flatten(1), strict=True)
        found = [kl_divergence(MultivariateNormal(m, torch.diag(v.exp())), smooth) for m, v in parts]
        return float(sum(found)) / mean.numel()

    def field(seed):
        return uniform(seed, 1, 3, *shape) - 0.5

    one, other = (field(0), field(1)), (3 * field(2), field(3) - 2)
    difference = float(velocity_kl_loss(*one, prior)) - float(velocity_kl_loss(*other, prior))
    assert difference == pytest.approx(full(*one) - full(*other), rel=1e-6)


def test_gradient_of_the_divergence_agrees_with_finite_differences():
    inputs = uniform(0, 2, 3, 3, 4, 2), uniform(1, 2, 3, 3, 4, 2)
    assert same_by_finite_differences(lambda v, s: velocity_kl_loss(v, s, 10.0), *inputs)


# Half precision -------------------------------------------------------------------------------------------------------

LOSSES = {
    "local correlation": (local_correlation_loss, 1),
    "dice": (dice_loss, 4),
    "diffusion": (smoothness_loss, 3),
    "bending": (lambda a: smoothness_loss(a, "bending"), 3),
    "end point": (endpoint_loss, 3),
    "divergence": (lambda a, b: velocity_kl_loss(a, b, 10.0), 3),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_in_gives_single_precision_out(name, dtype):
    loss, channels = LOSSES[name]
    count = 1 if name in ("diffusion", "bending") else 2
    # Values that half precision holds exactly: any difference is the loss's own.
    inputs = [uniform(n, 1, channels, 24, 24, 24, dtype=dtype).float() for n in range(count)]
    halves = [value.to(dtype).requires_grad_(True) for value in inputs]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(*halves)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(loss(*inputs)), rel=3e-3)
    found.backward()
    assert all(value.grad.dtype == dtype and torch.isfinite(value.grad).all() for value in halves)
