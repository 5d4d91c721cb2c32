"""The networks: shapes, parameters, symmetry, invertibility and gradients; and the spatial operations in batches."""

import pytest
import torch
from deepregister import spatial
from deepregister.errors import ModelError
from deepregister.networks import build
from deepregister.networks.correlation import correlation

SMALL = {
    "voxelmorph": {"encoder": [4, 4, 4], "decoder": [4, 4, 4, 4]},
    "pyramid": {"channels": [4, 5, 6], "decoder": [6, 6, 6], "radius": [1, 1, 2], "repeats": [1, 2, 1]},
}
SHAPE = (16, 24, 32)


def images(seed=0, batch=2, shape=SHAPE):
    """Two images of blobs, (B, 1, D, H, W) in 0..1."""
    noise = torch.randn(2 * batch, 1, *shape, generator=torch.Generator().manual_seed(seed))
    blobs = spatial.smooth(noise, 2.0)
    return (0.5 + blobs / (2 * blobs.abs().max())).chunk(2)


def moving_network(name, **parameters):
    """A small network with random weights, scaled so that it moves images by about two voxels."""
    torch.manual_seed(1)
    network = build(name, SMALL[name] | parameters).eval()
    last = [network.flow] if name == "voxelmorph" else [decoder.velocity for decoder in network.decoders.values()]
    with torch.no_grad():
        for layer in last:
            layer.weight.normal_(std=0.1)
        for _ in range(4):
            moved = network(*images()).fixed_to_moving.abs().max()
            for layer in last:
                layer.weight.mul_(2 / moved)
    return network


@pytest.mark.parametrize(
    ("name", "parameters", "count", "multiple", "grids"),
    [
        ("voxelmorph", {"stride": 1}, 327331, 16, [1]),
        ("voxelmorph", {}, 313507, 16, [2]),
        ("voxelmorph", {"uncertainty": True}, 314806, 16, [2]),
        ("voxelmorph", {"uncertainty": True, "symmetric": True}, 314806, 16, [2]),
        ("voxelmorph", {"symmetric": True, "normalise": True}, 313811, 16, [2]),
        ("voxelmorph", {"integrate": False, "stride": 1}, 327331, 16, [1]),
        ("pyramid", {}, 1039904, 16, [16, 8, 4, 2]),
        ("pyramid", {"finest": 4}, 937772, 16, [16, 8, 4]),
    ],
)
def test_shapes_and_sizes(name, parameters, count, multiple, grids):
    network = build(name, parameters)
    assert sum(weights.numel() for weights in network.parameters()) == count
    assert network.multiple == multiple
    shape = (32, 16, 48)
    motion = network(*images(shape=shape))
    assert motion.stride == grids[-1]
    expected = [(2, 3, *(length // stride for length in shape)) for stride in grids]
    assert [tuple(velocity.shape) for velocity in motion.velocities] == expected
    assert tuple(motion.fixed_to_moving.shape) == expected[-1]
    integrated = parameters.get("integrate", True)
    assert (motion.moving_to_fixed is not None) == integrated
    if integrated:
        assert tuple(motion.moving_to_fixed.shape) == expected[-1]
    assert (motion.log_variance is not None) == parameters.get("uncertainty", False)


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_has_a_gradient(name):
    network = moving_network(name)
    motion = network(*images())
    motion.fixed_to_moving.square().mean().backward()
    assert not [n for n, weights in network.named_parameters() if not float(weights.grad.abs().max()) > 0]


@pytest.mark.parametrize(
    ("name", "parameters"), [("pyramid", {}), ("voxelmorph", {"symmetric": True, "normalise": True})]
)
def test_exchanging_the_images_gives_the_inverse(name, parameters):
    network = moving_network(name, **parameters)
    fixed, moving = images()
    with torch.inference_mode():
        one, other = network(fixed, moving), network(moving, fixed)
    assert float(one.fixed_to_moving.abs().max()) > 1
    assert torch.allclose(one.fixed_to_moving, other.moving_to_fixed, atol=1e-4)
    assert torch.allclose(one.moving_to_fixed, other.fixed_to_moving, atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_there_and_back_is_nowhere(name):
    with torch.inference_mode():
        motion = moving_network(name)(*images())
        missed = spatial.compose(motion.fixed_to_moving, motion.moving_to_fixed)[..., 2:-2, 2:-2, 2:-2]
    # Random weights make a motion as rough as its grid; one that was learned to be smooth misses far less.
    assert float(motion.fixed_to_moving.abs().max()) > 1
    assert float(missed.abs().mean()) < 0.3 * float(motion.fixed_to_moving.abs().mean())


@pytest.mark.parametrize("name", SMALL)
def test_motion_follows_the_images_when_both_are_shifted(name):
    """By whole voxels of the coarsest grid, far from the border: everything is convolution, nothing knows positions."""
    shallow = (
        {"encoder": [4, 4], "decoder": [4, 4, 4]}
        if name == "voxelmorph"
        else {"channels": [4, 5], "decoder": [6, 6], "radius": [1, 1], "repeats": [1, 1]}
    )
    network = moving_network(name, **shallow)
    fixed, moving = images(batch=1, shape=(8, 8, 128))
    window = torch.zeros(128)
    window[48:72] = torch.hann_window(24)
    fixed, moving = fixed * window, moving * window
    by = network.multiple
    with torch.inference_mode():
        still = network(fixed, moving).fixed_to_moving
        shifted = network(fixed.roll(by, -1), moving.roll(by, -1)).fixed_to_moving
    part = slice(40 // 2, 80 // 2)
    assert float(still[..., part].abs().max()) > 0.5
    assert torch.allclose(shifted.roll(-by // 2, -1)[..., part], still[..., part], atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_in_half_precision_the_motion_is_nearly_the_same_and_single(name):
    network = moving_network(name)
    with torch.inference_mode():
        exact = network(*images()).fixed_to_moving
        with torch.autocast("cpu", torch.bfloat16):
            rounded = network(*images()).fixed_to_moving
    assert rounded.dtype == torch.float32
    assert 0 < float((rounded - exact).abs().max()) < 0.1 * float(exact.abs().max())


def test_the_brightness_range_of_an_image_is_nothing_to_the_pyramid():
    network = moving_network("pyramid")
    fixed, moving = images()
    with torch.inference_mode():
        bright, dim = network(fixed, moving).fixed_to_moving, network(fixed, 0.3 * moving).fixed_to_moving
    assert float((bright - dim).abs().max()) < 0.02 * float(bright.abs().max())


def test_an_untrained_pyramid_already_moves_matches_towards_each_other():
    torch.manual_seed(3)
    network = build("pyramid", SMALL["pyramid"])
    fixed, _ = images(shape=(16, 32, 32))
    # The moving image shows everything two voxels further along i, so each fixed point finds its partner there.
    moving = fixed.roll(2, -1)
    with torch.inference_mode():
        field = spatial.upsampled_field(network(fixed, moving).fixed_to_moving, network.stride)
        before, after = ((fixed - each)[..., 4:-4].abs().mean() for each in (moving, spatial.warp(moving, field)))
    assert float(field[:, 0].mean()) > 5 * float(field[:, 1:].mean((0, 2, 3, 4)).abs().max())
    assert float(after) < 0.7 * float(before)


def test_an_unknown_network_or_parameter_is_named():
    with pytest.raises(ModelError, match=r"'unet'.*voxelmorph, pyramid"):
        build("unet", {})
    with pytest.raises(ModelError, match=r"voxelmorph has no parameter depth, width.*encoder"):
        build("voxelmorph", {"width": 3, "depth": 2})
    with pytest.raises(ModelError, match="symmetric needs integrate"):
        build("voxelmorph", {"symmetric": True, "integrate": False})
    with pytest.raises(ModelError, match="stride is 1 or 2, not 3"):
        build("voxelmorph", {"stride": 3})
    with pytest.raises(ModelError, match="finest is one of 2, 4"):
        build("pyramid", {"finest": 3})
    with pytest.raises(ModelError, match="cannot be built with channels = 'wide'"):
        build("pyramid", {"channels": "wide"})


def some_fields(shape=(5, 6, 7), batch=2):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(batch, 3, *shape, generator=generator, dtype=torch.float64) * 0.4


@pytest.mark.parametrize(
    "operation",
    [
        lambda u: spatial.warp(u.flip(0), u),
        lambda u: spatial.compose(u, u.flip(0)),
        lambda u: spatial.exponentiate(u, 3),
        lambda u: spatial.upsampled_field(u, 4),
        spatial.jacobian_determinants,
    ],
)
def test_operations_in_batches_and_their_gradients(operation):
    fields = some_fields()
    # In double precision on one field at a time, and their derivatives against finite differences.
    together = operation(fields.clone().requires_grad_())
    assert torch.autograd.gradcheck(operation, (some_fields((3, 2, 3)).requires_grad_(),), atol=1e-4)
    if together.shape[0] == 2:
        alone = [operation(fields[[n, 1 - n]])[0] for n in range(2)]
        assert torch.allclose(together, torch.stack(alone), atol=1e-12)


@pytest.mark.parametrize("slab", [40, 2**19])
def test_correlation_finds_a_shift_and_has_the_right_gradients(slab, monkeypatch):
    monkeypatch.setattr("deepregister.networks.correlation.SLAB", slab)
    first = torch.randn(2, 32, 6, 5, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    # second(x + d) is first(x) for d of one voxel along i, none along j and one back along k.
    second = first.roll((-1, 0, 1), (2, 3, 4))
    costs = correlation(first, second, 1)
    assert tuple(costs.shape) == (2, 27, 6, 5, 7)
    inner = costs[:, :, 1:-1, 1:-1, 1:-1]
    assert torch.equal(inner.argmax(1), torch.full_like(inner[:, 0], 0 * 9 + 1 * 3 + 2, dtype=torch.long))
    assert torch.allclose(inner[:, 5], first.square().mean(1)[:, 1:-1, 1:-1, 1:-1])
    small = [part[:1, :2, :3, :2, :2].clone().requires_grad_() for part in (first, second)]
    assert torch.autograd.gradcheck(lambda *images: correlation(*images, 1), small)


def test_half_precision_is_left_before_coordinates_are_made():
    fields = some_fields((3, 4, 400), 1).float()
    image = fields[:, :1]
    for coarse in (torch.float16, torch.bfloat16):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            warped = spatial.warp(image.to(coarse), fields.to(coarse))
        assert warped.dtype == torch.float32
        assert torch.equal(warped, spatial.warp(image.to(coarse).float(), fields.to(coarse).float()))


def test_an_enlarged_field_is_the_same_motion():
    line = torch.arange(6.0).view(1, 1, 1, 1, 6) + 0.25
    field = torch.cat([line.expand(1, 1, 4, 4, 6), torch.zeros(1, 2, 4, 4, 6)], 1)
    fine = spatial.upsampled_field(field, 2)
    assert tuple(fine.shape) == (1, 3, 8, 8, 12)
    # The coarse voxel c lies at the fine 2 c + 1/2: x there is moved by twice as many, half as long voxels.
    inner = torch.arange(1, 11)
    expected = 2 * ((inner - 0.5) / 2 + 0.25)
    assert torch.allclose(fine[0, 0, 2, 2, 1:11], expected)
