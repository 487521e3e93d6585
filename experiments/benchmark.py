"""Seconds, memory and operations of the project's own training steps, on this machine.

Takes the steps of both papers' models and the sampler, each in a process of its own, one step of
each at a time in random order, so that a noisy machine is noisy to all alike. Prints a table with
medians and spread; with --versus=torch, PyTorch's time for the same beside them.

  python experiments/benchmark.py                                  # float32, batch 1
  python experiments/benchmark.py --only=dcgan --batch_sizes=8,16 --precisions=float32,bfloat16
  python experiments/benchmark.py --versus=torch                   # pip install torch
  python experiments/benchmark.py --only=preparation,pipeline      # reading; batch after batch
  python experiments/benchmark.py --json=benchmark.json
"""

import os
import random
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean, median, quantiles
from types import SimpleNamespace
from typing import Any

import command_line
import jax
from command_line import FlagGroup, given_flags, resolve_flags

from brainsynth_jax.benchmark import machine, operations
from brainsynth_jax.benchmark.contender import Contender, Failed
from brainsynth_jax.benchmark.growth import list_growth
from brainsynth_jax.benchmark.workload import (
    PAPER_WIDTHS,
    Workload,
    make_cyclegan,
    make_dcgan,
    prepare_step,
)
from brainsynth_jax.errors import UserError
from brainsynth_jax.files import write_json
from brainsynth_jax.models.blocks import PRECISIONS

benchmark = FlagGroup("What is timed")
benchmark.string(
    "only", "cyclegan-unet,cyclegan-resnet,dcgan,dcgan-sampling", "Names, with commas between."
)
benchmark.string("batch_sizes", "1", "Images of each domain in a step, with commas between.")
benchmark.string("precisions", "float32", "float32, bfloat16 or both, with a comma between.")
benchmark.integer("image_size", 256, "Height and width of the images in pixels.", 24)
benchmark.integer("width", 0, "Channels of the first layers; 0 for the papers'.")
benchmark.integer("rounds", 7, "Steps of each that are timed.", 1)
benchmark.choice("versus", None, ("torch",), "A peer that takes turns with the project.")
benchmark.string(
    "growth",
    None,
    "PNG file: draws how time and memory grow with image size, batch and width, instead of the "
    "above; a quarter of an hour for each name on two cores.",
)
benchmark.string("json", None, "File for the records.")

READING = {"preparation", "pipeline"}
_SUBJECTS = 8
_WARM_UP_STEPS = 2
_GROWTH_ROUNDS = 3
_SMALL_WIDTH = 8
_ALLOWED_DIFFERENCE = 1e-2


def main() -> None:
    """Workloads -> contenders -> steps in turn -> records -> table."""
    options = SimpleNamespace(**resolve_flags(given_flags()))
    workloads = list_workloads(options)
    path = _new_file("json", options.json)
    plot = _new_file("growth", options.growth)
    print(f"{machine.describe_processor()}, {jax.local_device_count()} x {jax.default_backend()}")
    rates = {name: machine.product_rate(name) for name in options.precisions.split(",")}
    for name, rate in rates.items():
        print(f"Matrix products in {name}: {rate / 1e9:,.0f} billion operations a second.")
    records = []
    if plot:
        for record in time_growth(workloads, rates):
            print(describe_record(record), flush=True)
            records.append(record)
            if path:
                write_json(path, records)
        from brainsynth_jax.plots import save_growth  # benchmark.py goes without matplotlib

        save_growth(plot, records)
        return
    if options.versus:
        check_agreement(workloads)
    for workload in workloads:
        records.append(time_workload(workload, options, rates[workload.precision]))
        print(describe_record(records[-1]), flush=True)
        if path:
            write_json(path, records)
    if READING & set(options.only.split(",")):
        for record in time_reading(options):
            print(describe_reading(record), flush=True)
            records.append(record)
        if path:
            write_json(path, records)


def _new_file(flag: str, name: str | None) -> Path | None:
    path = Path(name).expanduser() if name else None
    if path and path.exists():
        raise UserError(f"--{flag}={path} exists already. Give another name, or remove it.")
    return path


def time_growth(workloads: list[Workload], rates: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    """A record of each size, batch and width, of each training step that is asked for."""
    few = SimpleNamespace(versus=None, rounds=_GROWTH_ROUNDS)
    for name in dict.fromkeys(workload.name for workload in workloads):
        if name != "dcgan-sampling":
            for changed, workload in list_growth(name):
                record = time_workload(workload, few, next(iter(rates.values())))
                yield record | {"changed": changed}


def list_workloads(options: SimpleNamespace) -> list[Workload]:
    """Every combination that the flags ask for."""
    names = _parse("only", options.only, (*PAPER_WIDTHS, *sorted(READING)))
    precisions = _parse("precisions", options.precisions, PRECISIONS)
    sizes = options.batch_sizes.split(",")
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise UserError(
            f"--batch_sizes={options.batch_sizes}: numbers above 0 with commas between are "
            "needed, such as 1,8."
        )
    return [
        Workload(name, precision, int(size), options.image_size, options.width)
        for name in names
        if name not in READING
        for precision in precisions
        for size in sizes
    ]


def _parse(flag: str, text: str, allowed: Any) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in allowed]:
        raise UserError(
            f"--{flag}={text}: {', '.join(unknown)} is unknown. Choose from "
            f"{', '.join(allowed)}, with commas between."
        )
    return names


def time_workload(
    workload: Workload, options: SimpleNamespace, product_rate: float
) -> dict[str, Any]:
    """The project's time and, with a peer, its best form's."""
    with tempfile.TemporaryDirectory() as cache_dir:
        contenders = {"jax": Contender(prepare_step, workload, cache_dir)}
        again = Contender(prepare_step, workload, cache_dir)
        again.close()
    if options.versus:
        contenders |= start_peers(workload)
    for contender in contenders.values():
        for _ in range(_WARM_UP_STEPS):
            contender.step()
        contender.forget_peak()
    seconds = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name in random.sample(list(contenders), len(contenders)):
            seconds[name].append(contenders[name].step())
    ours = contenders["jax"]
    flops = count_flops(workload)
    record = {
        "name": workload.name,
        "backend": jax.default_backend(),
        "precision": workload.precision,
        "batch_size": workload.batch_size,
        "image_size": workload.image_size,
        "width": workload.first_channels,
        "seconds_median": median(seconds["jax"]),
        "seconds_spread": _spread(seconds["jax"]),
        "peak_memory_mib": ours.peak_memory_mib(),
        "flops": flops,
        "xla_flops": ours.facts["xla_flops"],
        "share_of_product_rate": flops / median(seconds["jax"]) / product_rate,
        "import_seconds": ours.import_seconds,
        "compile_seconds": ours.facts["compile_seconds"],
        "compile_seconds_from_cache": again.facts["compile_seconds"],
    }
    peers = {name: median(times) for name, times in seconds.items() if name != "jax"}
    if peers:
        best = min(peers, key=peers.get)
        ratios = [a / b for a, b in zip(seconds["jax"], seconds[best], strict=True)]
        record |= {
            "torch_form": best,
            "torch_seconds_median": peers[best],
            "torch_peak_memory_mib": contenders[best].peak_memory_mib(),
            "ratio": median(ratios),
        }
    for contender in contenders.values():
        contender.close()
    return record


def check_agreement(workloads: list[Workload]) -> None:
    """Shows, on small networks, that PyTorch's program is the same as the project's.

    Raises:
        UserError: PyTorch is not installed, or it is another program.
    """
    try:
        from brainsynth_jax.benchmark.agreement import STEPS, largest_difference
    except ImportError as error:
        raise UserError(f"--versus=torch: {error}. Install it: pip install torch") from error
    seen = {workload.name: workload for workload in workloads}
    for name in [name for name in seen if name != "dcgan-sampling"]:
        small = Workload(name, batch_size=2, image_size=seen[name].image_size, width=_SMALL_WIDTH)
        difference = largest_difference(small)
        print(
            f"{name}: from the same weights, PyTorch's losses of {STEPS} steps differ by at most "
            f"{difference:.1g} (relative; {_SMALL_WIDTH} channels, nothing drawn at random)."
        )
        if difference > _ALLOWED_DIFFERENCE:
            raise UserError(
                f"--versus=torch: PyTorch's {name} is not the same program (allowed: "
                f"{_ALLOWED_DIFFERENCE}), so its time would say nothing. Please report this."
            )


def start_peers(workload: Workload) -> dict[str, Contender]:
    """PyTorch in each form that works here."""
    from brainsynth_jax.benchmark.torch_steps import FORMS, prepare_peer

    peers = {}
    for form in FORMS:
        try:
            peers[form] = Contender(prepare_peer, workload, form)
        except Failed as failure:
            print(f"warning: PyTorch, {form}: {failure}")
    return peers


def count_flops(workload: Workload) -> int:
    """Operations of a step, by hand."""
    if workload.name in ("dcgan", "dcgan-sampling"):
        model = make_dcgan(workload)
        if workload.name == "dcgan-sampling":
            one = operations.count_sampling(model.generator, model.latent_size)
        else:
            one = operations.count_dcgan(
                model.generator, model.discriminator, model.latent_size, workload.image_size
            )
    else:
        model = make_cyclegan(workload)
        one = operations.count_cyclegan(model.generator, model.discriminator, workload.image_size)
    return one * workload.batch_size


def _spread(seconds: list[float]) -> float:
    """The middle half's width."""
    if len(seconds) < 2:
        return 0.0
    low, _, high = quantiles(seconds, n=4, method="inclusive")
    return high - low


def time_reading(options: SimpleNamespace) -> Iterator[dict[str, Any]]:
    """Records of preparing made-up patients of BraTS's size, and of batches of their slices."""
    # Whoever measures steps on a bare machine has no readers.
    from brainsynth_jax.benchmark.reading import time_pipeline, time_preparation, write_subjects

    names = set(options.only.split(","))
    common = {"backend": "cpu", "image_size": 256, "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as folder:
        write_subjects(Path(folder, "patients"), _SUBJECTS)
        dataset, seconds = time_preparation(Path(folder, "patients"), Path(folder, "cache"))
        if "preparation" in names:
            yield {"name": "preparation", **common, "seconds_median": seconds}
        for size in map(int, options.batch_sizes.split(",") if "pipeline" in names else ()):
            times = time_pipeline(dataset, size)
            yield {
                "name": "pipeline",
                **common,
                "batch_size": size,
                "seconds_median": median(times),
                "seconds_spread": _spread(times),
                "slices_per_second_per_core": 2 * size / mean(times) / os.cpu_count(),
            }


def describe_reading(record: dict[str, Any]) -> str:
    """One line of the table."""
    if record["name"] == "preparation":
        return (
            f"preparation      {record['seconds_median']:.2f} s a patient (FLAIR and mask of "
            f"240x240x155, {_SUBJECTS} patients one after the other, {record['cores']} cores)"
        )
    return (
        f"pipeline         batch {record['batch_size']:3}  {1e3 * record['seconds_median']:.1f} ms "
        f"(spread {1e3 * record['seconds_spread']:.1f}), "
        f"{record['slices_per_second_per_core']:,.0f} slices a second and core"
    )


def describe_record(record: dict[str, Any]) -> str:
    """One line of the table."""
    cached = record["compile_seconds_from_cache"]
    line = (
        f"{record['name']:16} {record['precision']:9} batch {record['batch_size']:3}  "
        f"{record['seconds_median']:8.3f} s (spread {record['seconds_spread']:.3f})  "
        f"{record['peak_memory_mib'] or 0:7,.0f} MiB  {record['flops'] / 1e9:8,.0f} GFLOP  "
        f"{record['share_of_product_rate']:4.0%} of the rate  compiled in "
        f"{record['compile_seconds']:.0f} s, from cache in {cached:.1f} s"
    )
    if "ratio" in record:
        line += (
            f"  torch {record['torch_form']} {record['torch_seconds_median']:.3f} s, "
            f"ratio {record['ratio']:.2f}"
        )
    return line


if __name__ == "__main__":
    command_line.run(main)
