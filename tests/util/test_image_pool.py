"""The history of fakes that D is shown."""

import pytest
import torch

from util.image_pool import ImagePool


def images(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, 2, 2).clone()


def values(batch: torch.Tensor) -> list[float]:
    return batch[:, 0, 0, 0].tolist()


def test_pool_of_size_0_hands_all_through():
    pool, batch = ImagePool(0), images(1, 2, 3)
    for _ in range(3):
        assert torch.equal(pool.query(batch), batch)
    assert not pool.images


def test_images_pass_until_the_pool_is_full():
    pool = ImagePool(5)
    assert values(pool.query(images(1, 2, 3))) == [1, 2, 3]
    assert values(pool.query(images(4, 5))) == [4, 5]
    assert sorted(float(image[0, 0, 0]) for image in pool.images) == [1, 2, 3, 4, 5]


def test_a_full_pool_swaps_half_of_the_images_with_stored_ones():
    pool, count = ImagePool(10), 2000
    pool.query(images(*range(10)))
    swapped = []
    for new in range(10, 10 + count):
        stored = {float(image[0, 0, 0]) for image in pool.images}
        (out,) = values(pool.query(images(new)))
        now = {float(image[0, 0, 0]) for image in pool.images}
        if out == new:
            assert now == stored
        else:
            assert out in stored and now == stored - {out} | {new}
            swapped.append(out)
    assert 0.45 < len(swapped) / count < 0.55
    assert len(pool.images) == 10


def test_every_stored_image_can_come_back():
    pool = ImagePool(4)
    pool.query(images(1, 2, 3, 4))
    seen = {v for n in range(5, 100) for v in values(pool.query(images(n)))}
    assert {1, 2, 3, 4} <= seen


def test_what_comes_out_has_the_shape_of_the_batch_and_no_gradient():
    for size in (0, 1, 50):
        pool, batch = ImagePool(size), images(1, 2).requires_grad_(True)
        for _ in range(3):
            out = pool.query(batch * 2)
            assert out.shape == batch.shape and not out.requires_grad


def test_stored_images_are_copies():
    pool, batch = ImagePool(1), images(1)
    pool.query(batch)
    batch.fill_(9)
    assert float(pool.images[0].max()) == 1
    while pool.query(new := images(2)).max() == 2:
        pass
    new.fill_(9)
    assert float(pool.images[0].max()) == 2


@pytest.mark.parametrize(("seed", "same"), [(3, True), (4, False)])
def test_the_seed_decides_the_swaps(seed, same):
    one, two = ImagePool(3, seed=3), ImagePool(3, seed=seed)
    outputs = [[values(pool.query(images(n))) for n in range(60)] for pool in (one, two)]
    assert (outputs[0] == outputs[1]) is same


def sized(value: float, *size: int, count: int = 1) -> torch.Tensor:
    return torch.full((count, 3, *size), value)


def test_an_image_of_another_size_makes_room_and_is_not_returned():
    pool, sizes = ImagePool(4), [(2, 2), (2, 3), (4, 2)]
    stored_values = set()
    for n in range(400):
        size = sizes[n % 3]
        batch = sized(n, *size, count=1 + n % 2)
        out = pool.query(batch)
        assert out.shape == batch.shape
        stored_values |= set(values(out)) - {float(n)}
    assert len(stored_values) > 20 and len(pool.images) == 4  # older ones of the same size return


def test_a_pool_of_a_former_size_soon_holds_the_new_one():
    pool = ImagePool(10)
    pool.query(sized(1, 2, 2, count=10))
    for n in range(100):
        assert pool.query(sized(n, 3, 3)).shape == (1, 3, 3, 3)
    assert {tuple(image.shape) for image in pool.images} == {(3, 3, 3)}
