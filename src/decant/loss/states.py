"""Hidden states of student and teacher, brought to one shape."""

import torch


def same_grid(student: torch.Tensor, teacher: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """States as (B, T, H) and (B, T, K); maps (B, H, Y, X) of images are averaged to the smaller grid of the two."""
    if student.dim() == 3:
        return student.float(), teacher.float()
    grid = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    first, second = (downsampled(x.float(), grid).flatten(2).transpose(1, 2) for x in (student, teacher))
    return first, second


def downsampled(maps: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """`adaptive_avg_pool2d` of (B, H, Y, X): (B, H, *grid); torch's own has no deterministic gradient on a GPU."""
    if maps.shape[2:] == grid:
        return maps
    rows, columns = (window_weights(size, count).to(maps) for size, count in zip(maps.shape[2:], grid, strict=True))
    with torch.autocast(maps.device.type, enabled=False):
        return rows @ maps @ columns.T


def window_weights(size: int, count: int) -> torch.Tensor:
    """(count, size): the weights of a mean over each of `count` windows that together cover `size` cells."""
    weights = torch.zeros(count, size)
    for i in range(count):
        weights[i, i * size // count : -(-(i + 1) * size // count)] = 1
    return weights / weights.sum(1, keepdim=True)


def pooled(hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """(B, H): the mean over the tokens that are not padding, or over a map.

    Raises:
        ValueError: the mask has another shape.
    """
    if hidden.dim() == 4:
        return hidden.float().mean((2, 3))
    if mask is None:
        return hidden.float().mean(1)
    if mask.shape != hidden.shape[:2]:
        raise ValueError(
            f"expected equal shapes (B, T), found {tuple(hidden.shape[:2])} and a mask {tuple(mask.shape)}"
        )
    weights = mask[:, :, None].float()
    return (hidden.float() * weights).sum(1) / weights.sum(1).clamp(min=1)


def mean_over_tokens(values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The mean over rows of the mean over tokens of values (B, T), without padding."""
    return pooled(values[:, :, None], mask).mean()
