"""Seconds, memory and operations of the project's own training steps, on this machine.

Takes the steps of both papers' models and the sampler, each in a process of its own, in turns and
in random order, so that a noisy machine is noisy to all alike. Prints a table with
medians and spread; with --versus=torch, PyTorch's time for the same beside them.

  python experiments/benchmark.py                                  # float32, batch 1
  python experiments/benchmark.py --only=dcgan --batch_sizes=8,16 --precisions=float32,bfloat16
  python experiments/benchmark.py --versus=torch                   # pip install torch
  python experiments/benchmark.py --only=preparation,pipeline      # reading; batch after batch
  python experiments/benchmark.py --only=dcgan --growth=growth.png # with size, batch and width
  python experiments/benchmark.py --json=benchmark.json
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, median
from types import SimpleNamespace
from typing import Any

import command_line
import jax
from command_line import FlagGroup, given_flags, resolve_flags

from brainsynth_jax.benchmark import machine
from brainsynth_jax.benchmark.contender import Failed
from brainsynth_jax.benchmark.growth import list_growth
from brainsynth_jax.benchmark.jax_steps import check_image_size
from brainsynth_jax.benchmark.timing import spread, time_workload
from brainsynth_jax.benchmark.workload import PAPER_WIDTHS, SAMPLING, Workload
from brainsynth_jax.errors import UserError
from brainsynth_jax.files import write_json
from brainsynth_jax.models.blocks import PRECISIONS

benchmark = FlagGroup("What is timed")
benchmark.string(
    "only",
    "cyclegan-unet,cyclegan-resnet,dcgan,dcgan-sampling",
    "Names, with commas between; also preparation (of a patient) and pipeline (batches).",
)
benchmark.string("batch_sizes", "1", "Images of each domain in a step, with commas between.")
benchmark.string("precisions", "float32", "float32, bfloat16 or both, with a comma between.")
benchmark.integer("image_size", 256, "Height and width of the images in pixels.", 24)
benchmark.integer("width", 0, "Channels of the first layers; 0 for the papers'.")
benchmark.integer("rounds", 7, "Steps of each that are timed.", 1)
benchmark.choice("versus", None, ("torch",), "A peer that takes turns with the project.")
benchmark.string(
    "torch_forms",
    None,
    "With --versus=torch: eager, channels-last, compiled, with commas between; by default all, of "
    "which the fastest counts. They are in memory at the same time.",
)
benchmark.string(
    "growth",
    None,
    "PNG file: draws how time and memory grow with image size, batch and width, each in turn from "
    "a small base, instead of the sizes above; ten minutes for each name on two cores.",
)
benchmark.string("json", None, "File for the records.")

READING = ("preparation", "pipeline")
_SUBJECTS = 8
_SMALL_WIDTH = 8
_ALLOWED_DIFFERENCE = 1e-2


def main() -> None:
    """Flags -> workloads -> records -> table and files."""
    options = SimpleNamespace(**resolve_flags(given_flags()))
    workloads = list_workloads(options)
    if options.torch_forms and not options.versus:
        raise UserError(f"--torch_forms={options.torch_forms} needs --versus=torch.")
    path, plot = new_file("json", options.json), new_file("growth", options.growth)
    if plot:  # before the work; steps are measured without matplotlib
        from brainsynth_jax.plots import save_growth
    # Several processes share a GPU.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    describe = describe_against_peer if options.versus else describe_step
    print(f"{machine.describe_processor()}; {jax.default_backend()}; JAX {jax.__version__}")
    for name in dict.fromkeys(workload.precision for _, workload in workloads):
        rate = machine.product_rate(name)
        print(f"Matrix products in {name}: {rate / 1e9:,.0f} billion operations a second.")
    prepare_peer, forms = check_peer(options, workloads) if options.versus else (None, ())

    records = []
    if workloads:
        print(describe(None))
    for changed, workload in workloads:
        try:
            record = time_workload(workload, options.rounds, forms, prepare_peer)
        except Failed as failure:
            print(f"warning: {name_workload(workload)} is left out: {failure}.")
            continue
        records.append(record | ({"changed": changed} if changed else {}))
        print(describe(record), flush=True)
        save_records(path, records)
    for record in time_reading(options):
        records.append(record)
        print(describe_reading(record), flush=True)
        save_records(path, records)
    if not records:
        raise UserError(
            "Nothing could be timed; each reason is above. Try a smaller --image_size, "
            "--batch_sizes or --width."
        )
    if plot:
        save_growth(plot, [record for record in records if "changed" in record])


def new_file(flag: str, name: str | None) -> Path | None:
    """The path, of a file that does not exist yet."""
    path = Path(name).expanduser() if name else None
    if path and path.exists():
        raise UserError(f"--{flag}={path} exists already. Give another name, or remove it.")
    if path and not path.parent.is_dir():
        raise UserError(f"--{flag}={path}: there is no folder {path.parent}. Make it first.")
    return path


def save_records(path: Path | None, records: list[dict[str, Any]]) -> None:
    """Writes what there is so far."""
    if path:
        write_json(path, records)


def list_workloads(options: SimpleNamespace) -> list[tuple[str | None, Workload]]:
    """What --growth changes, or None, and each workload that the flags ask for."""
    names = [
        name
        for name in parse_names("only", options.only, (*PAPER_WIDTHS, *READING))
        if name not in READING
    ]
    precisions = parse_names("precisions", options.precisions, PRECISIONS)
    sizes = options.batch_sizes.split(",")
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise UserError(
            f"--batch_sizes={options.batch_sizes}: numbers above 0 with commas between are "
            "needed, such as 1,8."
        )
    if options.growth:
        steps = [name for name in names if name != SAMPLING]
        if not steps:
            raise UserError(
                f"--growth={options.growth}: --only={options.only} has no training step. Choose "
                f"from {', '.join(name for name in PAPER_WIDTHS if name != SAMPLING)}."
            )
        return [pair for name in steps for pair in list_growth(name, precisions[0])]
    workloads = [
        Workload(name, precision, int(size), options.image_size, options.width)
        for name in names
        for precision in precisions
        for size in sizes
    ]
    for workload in workloads:
        check_image_size(workload)
    return [(None, workload) for workload in workloads]


def parse_names(flag: str, text: str, allowed: Any) -> list[str]:
    """The words between the commas, each of which has to be allowed."""
    names = text.split(",")
    if unknown := [name for name in names if name not in allowed]:
        raise UserError(
            f"--{flag}={text}: {', '.join(unknown)} is unknown. Choose from "
            f"{', '.join(allowed)}, with commas between."
        )
    return names


def check_peer(
    options: SimpleNamespace, workloads: list[tuple[str | None, Workload]]
) -> tuple[Callable, list[str]]:
    """PyTorch's program and its forms, once it is shown, on small networks, to be the project's.

    Raises:
        UserError: PyTorch is not installed, or it is another program.
    """
    try:
        from brainsynth_jax.benchmark.agreement import STEPS, largest_difference
        from brainsynth_jax.benchmark.torch_steps import FORMS, prepare_peer
    except ImportError as error:
        raise UserError(f"--versus=torch: {error}. Install it: pip install torch") from error
    forms = parse_names("torch_forms", options.torch_forms or ",".join(FORMS), FORMS)
    sizes = {workload.name: workload.image_size for _, workload in workloads}
    sizes.pop(SAMPLING, None)
    for name, size in sizes.items():
        small = Workload(name, batch_size=2, image_size=size, width=_SMALL_WIDTH)
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
    return prepare_peer, forms


def time_reading(options: SimpleNamespace) -> Iterator[dict[str, Any]]:
    """Records of preparing made-up patients of BraTS's size, and of batches of their slices."""
    names = set(READING) & set(options.only.split(","))
    if not names:
        return
    # Whoever measures steps on a bare machine has no readers.
    from brainsynth_jax.benchmark.reading import (
        time_image_batches,
        time_pair_batches,
        time_preparation,
        write_subjects,
    )

    common = {"backend": "cpu", "image_size": 256, "cores": machine.count_cores()}
    with tempfile.TemporaryDirectory() as folder:
        write_subjects(Path(folder, "patients"), _SUBJECTS)
        dataset, seconds = time_preparation(Path(folder, "patients"), Path(folder, "cache"))
        if "preparation" in names:
            yield {"name": "preparation", **common, "seconds_median": seconds}
        for size in map(int, options.batch_sizes.split(",") if "pipeline" in names else ()):
            for name, slices, time_batches in (
                ("cyclegan-pipeline", 2 * size, time_pair_batches),
                ("dcgan-pipeline", size, time_image_batches),
            ):
                times = time_batches(dataset, size)
                yield {
                    "name": name,
                    **common,
                    "batch_size": size,
                    "seconds_median": median(times),
                    "seconds_spread": spread(times),
                    "slices_per_second_per_core": slices / mean(times) / machine.count_cores(),
                }


def describe_reading(record: dict[str, Any]) -> str:
    """One line."""
    if record["name"] == "preparation":
        return (
            f"preparation: {record['seconds_median']:.2f} s a patient (FLAIR and mask of "
            f"240x240x155; {_SUBJECTS} patients shared by {record['cores']} cores)"
        )
    return (
        f"{record['name']}, batch {record['batch_size']}: "
        f"{1e3 * record['seconds_median']:.2f} ms (spread {1e3 * record['seconds_spread']:.2f}), "
        f"{record['slices_per_second_per_core']:,.0f} slices a second and core"
    )


def name_workload(workload: Workload) -> str:
    """For a message."""
    return (
        f"{workload.name}, {workload.precision}, batch {workload.batch_size}, "
        f"{workload.image_size} pixels, width {workload.first_channels}"
    )


def describe_step(record: dict[str, Any] | None) -> str:
    """A row of the table; its head for None.

    GFLOP are counted by hand and by XLA. The last four are seconds of a start: to import, to trace,
    to compile or, the second time, to take from JAX's cache what was compiled.
    """
    if record is None:
        return (
            "\nname             precision batch pixels width  seconds (spread)     MiB    GFLOP "
            "by XLA of rate  import trace compile cached"
        )
    by_xla, trace = record["xla_flops"], record["trace_seconds"]
    return (
        f"{record['name']:16} {record['precision']:9} {record['batch_size']:5} "
        f"{record['image_size']:6} {record['width']:5} {record['seconds_median']:8.3f} "
        f"({record['seconds_spread']:.3f}) {record['peak_memory_mib']:8,.0f} "
        f"{record['flops'] / 1e9:7,.0f} {f'{by_xla / 1e9:,.0f}' if by_xla else '-':>7} "
        f"{record['share_of_product_rate']:7.0%} {record['import_seconds']:7.1f} "
        f"{'-' if trace is None else f'{trace:.1f}':>5} {record['compile_seconds']:7.1f} "
        f"{record['compile_seconds_from_cache']:6.1f}"
    )


def describe_against_peer(record: dict[str, Any] | None) -> str:
    """A row of the table, with the peer's fastest form and its time; its head for None."""
    if record is None:
        return f"{describe_step(None)}  PyTorch                seconds      MiB  ratio"
    if "ratio" not in record:
        return describe_step(record)
    return (
        f"{describe_step(record)}  {record['torch_version']:9} {record['torch_form']:13}"
        f"{record['torch_seconds_median']:7.3f} {record['torch_peak_memory_mib']:8,.0f} "
        f"{record['ratio']:6.2f}"
    )


if __name__ == "__main__":
    command_line.run(main)
