"""The project's networks in PyTorch, written as their users write them, to be timed beside.

Images are (N, C, H, W), PyTorch's order. `load_params` takes this project's weights, so that both
can be shown to compute the same.
"""

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

Params = Mapping[str, Any]


def load_params(layers: Mapping[str, nn.Module], params: Params) -> None:
    """Gives each layer the weights that Flax keeps under its name.

    Args:
        layers: Flax's name of a layer, with slashes between its parts -> the layer.
        params: nested, as a Flax network's.

    Raises:
        ValueError: a layer has no weights there, or weights no layer.
    """
    found = _flatten(params)
    for name, layer in layers.items():
        parts = {"weight": found.pop(f"{name}/kernel", found.pop(f"{name}/scale", None))}
        parts["bias"] = found.pop(f"{name}/bias", None)
        if isinstance(layer, nn.ConvTranspose2d):
            # Flax's turns the image round, PyTorch's the kernel.
            parts["weight"] = parts["weight"][::-1, ::-1].transpose(2, 3, 0, 1)
        elif isinstance(layer, nn.Conv2d):
            parts["weight"] = parts["weight"].transpose(3, 2, 0, 1)
        elif isinstance(layer, nn.Linear):
            parts["weight"] = parts["weight"].T
        for part, values in parts.items():
            own = getattr(layer, part)
            if own is not None and not own.requires_grad:  # a constant 1
                own = None
            if (own is None) != (values is None):
                raise ValueError(f"{name}: {part} is in one of the two networks only.")
            if own is not None:
                own.data.copy_(torch.tensor(np.ascontiguousarray(values)))
    if found:
        raise ValueError(f"No layer for the weights {', '.join(found)}.")


def _flatten(params: Params, prefix: str = "") -> dict[str, np.ndarray]:
    flat = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}/")
        else:
            flat[f"{prefix}{name}"] = np.asarray(value)
    return flat


def _leaky_relu(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, 0.2)


class UnetGenerator(nn.Module):
    """`models.unet.UnetGenerator`, with transposed convolutions."""

    def __init__(self, width: int = 64, dropout_rate: float = 0.5) -> None:
        super().__init__()
        self.dropout_rate = dropout_rate
        channels = [width * min(2**level, 8) for level in range(8)]
        self.downs = nn.ModuleList(
            nn.Conv2d(before, after, 4, 2, 1, bias=level in (0, 7))
            for level, (before, after) in enumerate(zip([1, *channels], channels, strict=False))
        )
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(
                channels[level] * (1 if level == 7 else 2),
                channels[level - 1] if level else 1,
                *(4, 2, 1),
                bias=level == 0,
            )
            for level in reversed(range(8))
        )

    @property
    def layers(self) -> dict[str, nn.Module]:
        """As `load_params` takes them."""
        return {f"Conv_{k}": layer for k, layer in enumerate(self.downs)} | {
            f"Upsample_{k}": layer for k, layer in enumerate(self.ups)
        }

    def forward(self, image: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, 1, H, W)."""
        x = self.downs[0](image)
        skips = [x]
        for level in range(1, 8):
            x = self.downs[level](_leaky_relu(x))
            if level < 7:
                x = functional.instance_norm(x)
                skips.append(x)
        for number, up in enumerate(self.ups[:-1]):
            x = functional.instance_norm(up(functional.relu(x)))
            if number < 3:
                x = functional.dropout(x, self.dropout_rate)
            x = torch.cat([skips[6 - number], x], dim=1)
        return torch.tanh(self.ups[-1](functional.relu(x)))


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        reflected = partial(
            nn.Conv2d, channels, channels, 3, padding=1, padding_mode="reflect", bias=False
        )
        self.first, self.second = reflected(), reflected()

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(functional.instance_norm(self.first(x)))
        return x + functional.instance_norm(self.second(y))


class ResnetGenerator(nn.Module):
    """`models.resnet.ResnetGenerator`, with transposed convolutions."""

    def __init__(self, width: int = 64, blocks: int = 9) -> None:
        super().__init__()
        wide = partial(nn.Conv2d, kernel_size=7, padding=3, padding_mode="reflect")
        down = partial(nn.Conv2d, kernel_size=3, stride=2, padding=1, bias=False)
        up = partial(
            nn.ConvTranspose2d, kernel_size=3, stride=2, padding=1, output_padding=1, bias=False
        )
        self.encoder = nn.ModuleList(
            [wide(1, width, bias=False), down(width, 2 * width), down(2 * width, 4 * width)]
        )
        self.blocks = nn.ModuleList(_ResidualBlock(4 * width) for _ in range(blocks))
        self.decoder = nn.ModuleList([up(4 * width, 2 * width), up(2 * width, width)])
        self.last = wide(width, 1)

    @property
    def layers(self) -> dict[str, nn.Module]:
        """As `load_params` takes them."""
        blocks = {}
        for k, block in enumerate(self.blocks):
            blocks[f"ResidualBlock_{k}/Conv_0"] = block.first
            blocks[f"ResidualBlock_{k}/Conv_1"] = block.second
        return (
            {f"Conv_{k}": layer for k, layer in enumerate((*self.encoder, self.last))}
            | {f"Upsample_{k}": layer for k, layer in enumerate(self.decoder)}
            | blocks
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, 1, H, W)."""
        for layer in self.encoder:
            x = functional.relu(functional.instance_norm(layer(x)))
        for block in self.blocks:
            x = block(x)
        for layer in self.decoder:
            x = functional.relu(functional.instance_norm(layer(x)))
        return torch.tanh(self.last(x))


class PatchDiscriminator(nn.Module):
    """`models.patch.PatchDiscriminator`."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        conv = partial(nn.Conv2d, kernel_size=4, padding=1)
        self.convs = nn.ModuleList(
            [
                conv(1, width, stride=2),
                conv(width, 2 * width, stride=2, bias=False),
                conv(2 * width, 4 * width, stride=2, bias=False),
                conv(4 * width, 8 * width, bias=False),
                conv(8 * width, 1),
            ]
        )

    @property
    def layers(self) -> dict[str, nn.Module]:
        """As `load_params` takes them."""
        return {f"Conv_{k}": layer for k, layer in enumerate(self.convs)}

    def forward(self, image: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, 1, H/8 - 2, W/8 - 2)."""
        x = _leaky_relu(self.convs[0](image))
        for conv in self.convs[1:-1]:
            x = _leaky_relu(functional.instance_norm(conv(x)))
        return self.convs[-1](x)


def _batch_norm(channels: int, scaled: bool = True) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, eps=2e-5, momentum=0.1)
    if not scaled:  # a bias alone, as the paper's framework has it
        norm.weight.requires_grad_(False)
    return norm


class DcganGenerator(nn.Module):
    """`models.dcgan.DcganGenerator` as published."""

    def __init__(
        self,
        image_size: int = 256,
        width: int = 32,
        dropout_rate: float = 0.5,
        activation: Callable[[Tensor], Tensor] = _leaky_relu,
    ) -> None:
        super().__init__()
        self.dropout_rate, self.activation = dropout_rate, activation
        doublings = (image_size // 4).bit_length() - 1
        self.features = width * 2 ** (doublings - 1)
        self.dense = nn.Linear(128, 16 * self.features, bias=False)
        self.dense_norm = nn.BatchNorm1d(16 * self.features, eps=2e-5, momentum=0.1)
        channels = [self.features // 2**k for k in range(doublings)] + [3]
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)
            for before, after in itertools.pairwise(channels)
        )
        self.norms = nn.ModuleList(_batch_norm(after) for after in channels[1:])
        self.last = nn.Conv2d(3, 3, 3, padding=1)

    @property
    def layers(self) -> dict[str, nn.Module]:
        """As `load_params` takes them."""
        norms = (self.dense_norm, *self.norms)
        return (
            {"Dense_0": self.dense, "Conv_0": self.last}
            | {f"Upsample_{k}": layer for k, layer in enumerate(self.ups)}
            | {f"BatchNorm_{k}": layer for k, layer in enumerate(norms)}
        )

    def forward(self, latent: Tensor) -> Tensor:
        """(N, 128) -> (N, 3, S, S)."""
        x = functional.dropout(
            self.dense_norm(self.dense(latent)), self.dropout_rate, self.training
        )
        # The dense layer's units are pixels by channels in Flax.
        x = x.reshape(-1, 4, 4, self.features).permute(0, 3, 1, 2)
        for up, norm in zip(self.ups, self.norms, strict=True):
            x = self.activation(norm(up(x)))
            x = functional.dropout(x, self.dropout_rate, self.training)
        return torch.tanh(self.last(x))


class DcganDiscriminator(nn.Module):
    """`models.dcgan.DcganDiscriminator` as published."""

    def __init__(
        self,
        image_size: int = 256,
        width: int = 32,
        noise_std: float = 0.2,
        activation: Callable[[Tensor], Tensor] = functional.relu,
    ) -> None:
        super().__init__()
        self.noise_std, self.activation = noise_std, activation
        layers = (
            (width, 2, 4),
            (width * 2, 2, 4),
            (width * 4, 2, 4),
            (width * 156 // 32, 2, 4),
            (width * 156 // 32, 1, 3),
            (width * 16, 2, 4),
            (width * 16, 1, 3),
            (width * 32, 2, 4),
            (width * 32, 1, 3),
        )
        before = (3, *(features for features, _, _ in layers))
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, features, size, stride, 1, bias=number == 0)
            for number, (channels, (features, stride, size)) in enumerate(
                zip(before, layers, strict=False)
            )
        )
        self.norms = nn.ModuleList(_batch_norm(features, False) for features, _, _ in layers[1:])
        self.dense = nn.Linear((image_size // 64) ** 2 * width * 32, 1)

    @property
    def layers(self) -> dict[str, nn.Module]:
        """As `load_params` takes them."""
        return (
            {f"Conv_{k}": layer for k, layer in enumerate(self.convs)}
            | {f"BatchNorm_{k}": layer for k, layer in enumerate(self.norms)}
            | {"Dense_0": self.dense}
        )

    def _noisy(self, x: Tensor) -> Tensor:
        return x + self.noise_std * torch.randn_like(x) if self.noise_std else x

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N,)."""
        x = self.activation(self._noisy(self.convs[0](self._noisy(image))))
        for conv, norm in zip(self.convs[1:], self.norms, strict=True):
            x = self._noisy(norm(conv(x)))
            x = torch.sigmoid(x) if conv is self.convs[-1] else self.activation(x)
        return self.dense(x.permute(0, 2, 3, 1).flatten(1))[:, 0]
