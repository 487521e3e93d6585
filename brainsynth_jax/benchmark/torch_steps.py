"""The papers' training steps and sampling in PyTorch, to be timed beside the project's."""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from brainsynth_jax.benchmark import torch_networks as peers
from brainsynth_jax.benchmark.contender import Ready
from brainsynth_jax.benchmark.torch_networks import Params, load_params
from brainsynth_jax.benchmark.workload import (
    CYCLEGAN_RATE,
    CYCLEGANS,
    DCGAN_RATE,
    DCGAN_WEIGHT_DECAY,
    SAMPLING,
    Workload,
    make_batch,
)

FORMS = ("eager", "channels-last", "compiled")

Step = Callable[..., dict[str, Tensor]]


class _Pool:
    """Past fakes, as CycleGAN's own program keeps them."""

    def __init__(self, size: int) -> None:
        self.size, self.images = size, []

    def swap(self, fakes: Tensor) -> Tensor:
        shown = []
        for fake in fakes:
            if len(self.images) < self.size:
                self.images.append(fake)
                shown.append(fake)
            elif random.random() < 0.5:
                slot = random.randrange(self.size)
                shown.append(self.images[slot])
                self.images[slot] = fake
            else:
                shown.append(fake)
        return torch.stack(shown)


def _place(networks: Mapping[str, nn.Module], form: str, device: str) -> dict[str, nn.Module]:
    """The networks on their device, in the form that they are to be timed in."""
    placed = {}
    for name, network in networks.items():
        network.to(device)
        if form == "channels-last":
            network.to(memory_format=torch.channels_last)
        placed[name] = torch.compile(network) if form == "compiled" else network
    return placed


def _adam(*networks: nn.Module, eps: float, **options: Any) -> torch.optim.Adam:
    weights = itertools.chain.from_iterable(network.parameters() for network in networks)
    trained = [weight for weight in weights if weight.requires_grad]
    return torch.optim.Adam(trained, betas=(0.5, 0.999), eps=eps, fused=True, **options)


def _autocast(precision: str, device: str) -> Any:
    if precision == "float32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, torch.bfloat16)


def _set_trained(networks: list[nn.Module], trained: bool) -> None:
    for network in networks:
        network.requires_grad_(trained)


def _as_tensor(images: np.ndarray, form: str, device: str) -> Tensor:
    """(N, H, W, C) -> (N, C, H, W) on the device."""
    images = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device)
    return images.to(memory_format=torch.channels_last) if form == "channels-last" else images


def make_cyclegan_step(
    make_generator: Callable[[], nn.Module],
    make_discriminator: Callable[[], nn.Module],
    weights: Mapping[str, Params],
    form: str,
    precision: str = "float32",
    device: str = "cpu",
    adam_epsilon: float = 1e-8,
) -> Step:
    """Returns `step(image_a, image_b)`, the CycleGAN paper's (`training.cyclegan`) on one batch.

    Images are (N, H, W, 1) float32; the metrics that the step returns bear the project's names.

    Args:
        make_generator: of `torch_networks`.
        make_discriminator: of `torch_networks`.
        weights: the state's, of the generators "ab" and "ba" and the discriminators "a" and "b".
        form: one of `FORMS`.
        precision: "float32", or "bfloat16" by autocast.
        device: "cpu" or "cuda".
        adam_epsilon: of both optimisers.
    """
    networks = {"ab": make_generator(), "ba": make_generator()}
    networks |= {"a": make_discriminator(), "b": make_discriminator()}
    for name, params in weights.items():
        load_params(networks[name].layers, params)
    ab, ba, dis_a, dis_b = networks.values()
    run = _place(networks, form, device)
    generator_adam = _adam(ab, ba, lr=CYCLEGAN_RATE, eps=adam_epsilon)
    discriminator_adam = _adam(dis_a, dis_b, lr=CYCLEGAN_RATE, eps=adam_epsilon)
    pool_a, pool_b = _Pool(50), _Pool(50)

    def real(scores: Tensor) -> Tensor:
        return (1 - scores.float()).square().mean()

    def fake(scores: Tensor) -> Tensor:
        return scores.float().square().mean()

    def step(image_a: np.ndarray, image_b: np.ndarray) -> dict[str, Tensor]:
        image_a, image_b = (_as_tensor(image, form, device) for image in (image_a, image_b))
        _set_trained([dis_a, dis_b], False)
        generator_adam.zero_grad()
        with _autocast(precision, device):
            fake_b, fake_a = run["ab"](image_a), run["ba"](image_b)
            cycled_a, cycled_b = run["ba"](fake_b), run["ab"](fake_a)
            scores_a, scores_b = run["a"](fake_a), run["b"](fake_b)
        cycle = 10 * ((cycled_a - image_a).abs().mean() + (cycled_b - image_b).abs().mean())
        adv_ab, adv_ba = real(scores_b), real(scores_a)
        (adv_ab + adv_ba + cycle).backward()
        generator_adam.step()

        _set_trained([dis_a, dis_b], True)
        discriminator_adam.zero_grad()
        shown_a, shown_b = pool_a.swap(fake_a.detach()), pool_b.swap(fake_b.detach())
        with _autocast(precision, device):
            scores = [run["a"](image_a), run["a"](shown_a), run["b"](image_b), run["b"](shown_b)]
        loss_a = (real(scores[0]) + fake(scores[1])) / 2
        loss_b = (real(scores[2]) + fake(scores[3])) / 2
        (loss_a + loss_b).backward()
        discriminator_adam.step()
        return {
            "adv_AB": adv_ab.detach(),
            "adv_BA": adv_ba.detach(),
            "cycle": cycle.detach(),
            "Dis_A": loss_a.detach(),
            "Dis_B": loss_b.detach(),
        }

    return step


def make_dcgan_step(
    generator: nn.Module,
    discriminator: nn.Module,
    weights: Mapping[str, Params],
    form: str,
    precision: str = "float32",
    device: str = "cpu",
    adam_epsilon: float = 1e-8,
) -> Step:
    """Returns `step(image, latent)`, the DCGAN paper's (`training.dcgan`) on one batch.

    Args:
        generator: of `torch_networks`.
        discriminator: of `torch_networks`.
        weights: the state's, of "generator" and "discriminator".
        form: one of `FORMS`.
        precision: "float32", or "bfloat16" by autocast.
        device: "cpu" or "cuda".
        adam_epsilon: of both optimisers.
    """
    networks = {"generator": generator, "discriminator": discriminator}
    for name, params in weights.items():
        load_params(networks[name].layers, params)
    run = _place(networks, form, device)
    options = {"lr": DCGAN_RATE, "weight_decay": DCGAN_WEIGHT_DECAY, "eps": adam_epsilon}
    generator_adam, discriminator_adam = (
        _adam(generator, **options),
        _adam(discriminator, **options),
    )

    def step(image: np.ndarray, latent: np.ndarray) -> dict[str, Tensor]:
        image = _as_tensor(np.repeat(image, 3, axis=-1), form, device)
        latent = torch.from_numpy(np.array(latent)).to(device)
        generator_adam.zero_grad()
        discriminator_adam.zero_grad()
        # The fakes' scores serve both networks, whose wishes are opposite.
        with _autocast(precision, device):
            score_fake = run["discriminator"](run["generator"](latent)).float().mean()
        score_fake.backward()
        for weight in generator.parameters():
            if weight.grad is not None:
                weight.grad.neg_()
        with _autocast(precision, device):
            score_real = run["discriminator"](image).float().mean()
        (-score_real).backward()
        generator_adam.step()
        discriminator_adam.step()
        return {"Gen": -score_fake.detach(), "Dis": (score_fake - score_real).detach()}

    return step


def prepare_peer(
    workload: Workload,
    form: str,
    weights: Mapping[str, Params],
    latents: Iterator[np.ndarray] | None = None,
) -> Ready:
    """PyTorch's counterpart of `jax_steps.prepare_step`, on the same images.

    Args:
        workload: to be timed.
        form: one of `FORMS`.
        weights: by `jax_steps.export_weights`.
        latents: of the DCGAN's steps, (N, latent size) each; None draws them here.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    step = _make_step(workload, form, weights, latents, device)

    def run() -> dict[str, Any]:
        metrics = step()
        if device == "cuda":
            torch.cuda.synchronize()
        return metrics

    def peak_memory() -> float | None:
        return torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else None

    return Ready(run, {"version": torch.__version__}, peak_memory)


def _make_step(
    workload: Workload,
    form: str,
    weights: Mapping[str, Params],
    latents: Iterator[np.ndarray] | None,
    device: str,
) -> Callable[[], dict[str, Tensor]]:
    batch, width = make_batch(workload), workload.first_channels
    how = (form, workload.precision, device)
    if workload.name in CYCLEGANS:
        off = {} if workload.random else {"dropout_rate": 0.0}
        make_generator = {
            "cyclegan-unet": lambda: peers.UnetGenerator(width, **off),
            "cyclegan-resnet": lambda: peers.ResnetGenerator(width),
        }[workload.name]
        step = make_cyclegan_step(
            make_generator,
            lambda: peers.PatchDiscriminator(width),
            weights,
            *how,
            adam_epsilon=workload.adam_epsilon,
        )
        return lambda: step(batch["image_a"], batch["image_b"])
    off = {} if workload.random else {"dropout_rate": 0.0, "activation": functional.elu}
    generator = peers.DcganGenerator(workload.image_size, width, **off)
    if workload.name == SAMPLING:
        return _make_sampling(workload, generator, weights["generator"], *how)
    quiet = {} if workload.random else {"noise_std": 0.0, "activation": functional.elu}
    discriminator = peers.DcganDiscriminator(workload.image_size, width, **quiet)
    step = make_dcgan_step(
        generator, discriminator, weights, *how, adam_epsilon=workload.adam_epsilon
    )
    latents = latents or _draw_latents(workload.batch_size, generator.dense.in_features)
    return lambda: step(batch["image"], next(latents))


def _draw_latents(count: int, size: int) -> Iterator[np.ndarray]:
    while True:
        yield torch.empty(count, size).uniform_(-1, 1).numpy()


def _make_sampling(
    workload: Workload, generator: nn.Module, params: Params, form: str, precision: str, device: str
) -> Callable[[], dict[str, Tensor]]:
    load_params(generator.layers, params)
    generator.eval()
    run = _place({"generator": generator}, form, device)["generator"]

    @torch.inference_mode()
    def step() -> dict[str, Tensor]:
        latent = torch.empty(workload.batch_size, generator.dense.in_features, device=device)
        with _autocast(precision, device):
            images = run(latent.uniform_(-1, 1))
        return {"images": images.mean(dim=1, keepdim=True).cpu()}

    return step
