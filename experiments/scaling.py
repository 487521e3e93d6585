"""How fast many devices would be: each step's own time, and the time in which they talk.

On paper, from a measured step, the bytes of its gradients and a stated network; and measured as far
as this machine goes, as processes that have a core each.

  python experiments/scaling.py --name=cyclegan-unet --step_seconds=0.01
  python experiments/scaling.py --benchmark=benchmark.json     # what benchmark.py --json measured
  python experiments/scaling.py --name=dcgan --measure=1,2     # processes of one core each
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from statistics import median

import command_line
from absl import flags
from command_line import FlagGroup

from brainsynth_jax.benchmark.scaling import (
    Network,
    count_talk,
    efficiency,
    talk_seconds,
)
from brainsynth_jax.benchmark.workload import PAPER_WIDTHS, SAMPLING, Workload
from brainsynth_jax.errors import UserError

FLAGS = flags.FLAGS

step = FlagGroup("The step")
step.choice(
    "name",
    "cyclegan-unet",
    tuple(name for name in PAPER_WIDTHS if name != SAMPLING),
    "Whose step.",
)
step.integer("batch_size", 1, "Images of each domain for each device.", 1)
step.integer("image_size", 256, "Height and width of the images in pixels.", 24)
step.integer("width", 0, "Channels of the first layers; 0 for the papers'.")
step.number("step_seconds", 0.0, "Seconds that a device alone takes; 0 with --benchmark.")
step.string("benchmark", None, "Records of benchmark.py --json: all their steps instead.")

network = FlagGroup("The network")
network.string("devices", "8,64,512", "Numbers of devices, with commas between.")
network.integer("devices_per_host", 8, "Devices in a host.", 1)
network.number(
    "inside_gigabytes", 300.0, "GB a second from a device to others of its host, as NVLink.", 0.001
)
network.number(
    "between_gigabits", 400.0, "Gbit a second between hosts, of all a host's ports.", 0.001
)
network.number("latency_microseconds", 20.0, "Of a message between hosts.")

measured = FlagGroup("Measured here")
measured.string(
    "measure",
    None,
    "Numbers of processes, with commas between: takes steps in so many, a core each.",
)
measured.integer("rounds", 5, "Steps that are timed.", 1)


def main() -> None:
    """The table on paper, or the one measured."""
    if FLAGS.measure:
        measure([int(n) for n in _numbers("measure")])
        return
    steps, devices = _steps(), _numbers("devices")
    joined = Network(
        FLAGS.devices_per_host,
        FLAGS.inside_gigabytes * 1e9,
        FLAGS.between_gigabits * 1e9 / 8,
        FLAGS.latency_microseconds * 1e-6,
    )
    print(
        f"Hosts of {FLAGS.devices_per_host} devices; {FLAGS.inside_gigabytes:g} GB/s inside, "
        f"{FLAGS.between_gigabits:g} Gbit/s between them, {FLAGS.latency_microseconds:g} us a "
        "message. Each device keeps its batch; nothing overlaps: a lower bound. For each number of "
        "devices: the share of its own speed that a device keeps, and how long a step's talk takes."
    )
    print(f"\n{'name':<16} {'precision':<9} {'batch':>5} {'step s':>8} {'MB told':>8}", end="")
    print("".join(f" {count:>7} devices" for count in devices))
    for workload, seconds in steps:
        talk = count_talk(workload)
        print(f"{workload.name:<16} {workload.precision:<9} {workload.batch_size:>5} ", end="")
        print(f"{seconds:>8.3g} {(talk.averaged + talk.gathered) / 1e6:>8.0f}", end="")
        for count in devices:
            share = efficiency(seconds, talk, count, joined)
            talking = 1e3 * talk_seconds(talk, count, joined)
            print(f" {share:>6.0%} {talking:>5.1f} ms", end="")
        print()


def measure(counts: list[int]) -> None:
    """Takes steps in so many processes at a time, each on a core of its own."""
    cores = sorted(os.sched_getaffinity(0))
    if max(counts) > len(cores):
        raise UserError(
            f"--measure={FLAGS.measure}: {max(counts)} processes of a core each, and there are "
            f"{len(cores)} cores. Give 1 to {len(cores)}."
        )
    workload = _workload()
    print(f"\n{FLAGS.name}, {FLAGS.image_size} pixels, batch {FLAGS.batch_size} a process")
    print("'apart' is the time of as many runs that do not talk: what the machine's cores share.")
    print(f"{'processes':>9} {'apart s':>8} {'step s':>8} {'images/s':>8} {'efficiency':>10}")
    alone = None
    for count in counts:
        apart = median(_take_steps(workload, count, cores, together=False))
        alone = alone or apart
        seconds = median(_take_steps(workload, count, cores, together=True)) if count > 1 else apart
        print(f"{count:>9} {apart:>8.3f} {seconds:>8.3f}", end="")
        images = count * FLAGS.batch_size / seconds
        print(f" {images:>8.2f} {alone / seconds:>10.0%}", flush=True)


def _take_steps(workload: Workload, count: int, cores: list[int], together: bool) -> list[float]:
    """Median seconds of a step in each of the processes: of one run, or each of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    described = json.dumps(workload._asdict())
    command = [sys.executable, "-m", "brainsynth_jax.benchmark.spread_step", address]
    places = [(count, index) if together else (1, 0) for index in range(count)]
    started = [
        subprocess.Popen(
            ["taskset", "-c", str(core), *command, *map(str, place), str(FLAGS.rounds), described],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for core, place in zip(cores, places, strict=False)
    ]
    seconds = []
    for process in started:
        out, error = process.communicate()
        if process.returncode:
            raise UserError(f"A process of {count} failed: {error.strip().splitlines()[-1]}")
        seconds.append(float(out.split()[-1]))
    return seconds


def _steps() -> list[tuple[Workload, float]]:
    if FLAGS.benchmark is None:
        if not FLAGS.step_seconds:
            raise UserError(
                "--step_seconds or --benchmark is needed: how long a device alone takes for a step."
            )
        return [(_workload(), FLAGS.step_seconds)]
    path = Path(FLAGS.benchmark)
    try:
        records = json.loads(path.read_text())
        return [
            (
                Workload(r["name"], r["precision"], r["batch_size"], r["image_size"], r["width"]),
                r["seconds_median"],
            )
            for r in records
            if r["name"] in PAPER_WIDTHS and r["name"] != SAMPLING
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--benchmark={path}: holds no records of benchmark.py --json ({error!r})."
        ) from None


def _workload() -> Workload:
    sizes = {name: getattr(FLAGS, name) for name in ("batch_size", "image_size", "width")}
    return Workload(FLAGS.name, **sizes)


def _numbers(name: str) -> list[int]:
    text = getattr(FLAGS, name)
    if not all(word.isdecimal() and int(word) for word in text.split(",")):
        raise UserError(f"--{name}={text}: whole numbers with commas between are needed.")
    return [int(word) for word in text.split(",")]


if __name__ == "__main__":
    command_line.run(main)
