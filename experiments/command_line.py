"""What the scripts share of the command line: grouped help, presets, one-sentence errors."""

import logging
import math
import os
import signal
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import environment

environment.set_environment()  # first of all, for it may start Python again

import jax  # noqa: E402
from absl import app, flags  # noqa: E402
from absl import logging as absl_logging  # noqa: E402

from brainsynth_jax.errors import UserError  # noqa: E402

FLAGS = flags.FLAGS
_WIDTH = 98

# When process 0 of several ends, JAX ends the others, who may be about to say what is wrong, too.
_SECONDS_FOR_OTHERS = 2


class FlagGroup:
    """Flags that belong together in `--help`.

    The methods define a flag as absl's DEFINE_* functions do and remember it for the help.

    Attributes:
        all: every group of the script, in order.
    """

    all: list["FlagGroup"] = []  # noqa: RUF012 - one list for the script, filled as it is read

    def __init__(self, title: str) -> None:
        self.title = title
        self.names: list[str] = []
        self.ranges: dict[str, str] = {}
        FlagGroup.all.append(self)

    def string(self, name: str, default: str | None, text: str) -> None:
        """A flag of any text."""
        self._define(flags.DEFINE_string, name, default, text)

    def integer(
        self, name: str, default: int, text: str, lowest: int = 0, highest: int | None = None
    ) -> None:
        """A whole number from `lowest` to `highest`."""
        self._define(
            flags.DEFINE_integer, name, default, text, lower_bound=lowest, upper_bound=highest
        )
        self.ranges[name] = _range(lowest, highest)

    def number(
        self,
        name: str,
        default: float,
        text: str,
        lowest: float = 0.0,
        highest: float | None = None,
    ) -> None:
        """A finite number from `lowest` to `highest`."""
        self._define(
            flags.DEFINE_float, name, default, text, lower_bound=lowest, upper_bound=highest
        )
        self.ranges[name] = _range(lowest, highest)
        flags.register_validator(name, math.isfinite, "a finite number is needed")

    def choice(self, name: str, default: str | None, values: tuple[str, ...], text: str) -> None:
        """One of a few words."""
        self._define(flags.DEFINE_enum, name, default, text, enum_values=list(values))

    def switch(self, name: str, text: str) -> None:
        """Off unless given."""
        self._define(flags.DEFINE_boolean, name, False, text)

    def _define(self, define: Callable, name: str, default: Any, text: str, **limits: Any) -> None:
        define(name, default, help=text, **limits)
        self.names.append(name)


def _default(flag: flags.Flag) -> str:
    return "none" if flag.default is None else flag.default_as_str.strip("'")


def _range(lowest: float, highest: float | None) -> str:
    low, high = (f"{x:g}" if isinstance(x, float) else str(x) for x in (lowest, highest))
    return f"{low} or more" if highest is None else f"{low} to {high}"


def given_flags() -> dict[str, Any]:
    """The values of the flags that stand on the command line."""
    return {
        name: FLAGS[name].value
        for group in FlagGroup.all
        for name in group.names
        if FLAGS[name].present
    }


def refuse_flags(names: Sequence[str], why: str) -> None:
    """Raises UserError where one of the flags is given, which would do nothing.

    Args:
        names: of the flags.
        why: the rest of the sentence.
    """
    if strange := [f"--{name}" for name in names if name in given_flags()]:
        raise UserError(f"{', '.join(strange)}: {why}. Leave it out.")


def resolve_flags(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Every flag's value: from the first layer that has it, else its default."""
    return {
        name: next((layer[name] for layer in layers if name in layer), FLAGS[name].default)
        for group in FlagGroup.all
        for name in group.names
    }


def describe_options(options: SimpleNamespace) -> str:
    """Every flag's value, a line a group."""
    return "\n".join(
        textwrap.fill(
            f"{group.title}: "
            + ", ".join(f"{name}={getattr(options, name)}" for name in group.names),
            _WIDTH,
            subsequent_indent="  ",
            break_on_hyphens=False,
        )
        for group in FlagGroup.all
    )


def use_cache(cache_dir: Path) -> None:
    """Makes the libraries keep what they would store in the home folder under `cache_dir`."""
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--cache_dir={cache_dir} cannot be made ({error.strerror}). Give a folder on a disk "
            "with room and the right to write."
        ) from error
    if not os.access(cache_dir, os.W_OK):
        print(f"Cache {cache_dir} can only be read: steps that it lacks are compiled in each run.")
        warnings.filterwarnings("ignore", "Error writing persistent compilation cache entry")
    os.environ["MPLCONFIGDIR"] = str(cache_dir / "matplotlib")
    jax.config.update("jax_compilation_cache_dir", str(cache_dir / "compiled_steps"))


@contextmanager
def on_interrupt(way_on: str) -> Iterator[None]:
    """While entered, a Ctrl-C or SIGTERM is answered with `way_on`."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(way_on) from None


def run(
    main: Callable[..., None],
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    commands: Sequence[str] = (),
) -> None:
    """Runs a script's `main`, printing its help when asked and mistakes as one sentence.

    Exit status: 0 done, 2 a mistake that the user can mend, 128 + n stopped by signal n.

    Args:
        main: takes no arguments, or the command; raises UserError for mistakes.
        presets: named values of flags, shown in the help.
        commands: words of which one has to come first; none where the script does one thing.
    """
    if {"--help", "-h", "-help", "--helpfull", "--helpshort"} & set(sys.argv[1:]):
        try:
            print(_help(sys.modules[main.__module__].__doc__, presets or {}), flush=True)
        except BrokenPipeError:  # whoever reads it has seen enough, as `head` does
            os._exit(0)
        return
    _log_plainly()

    def guarded(arguments: list[str]) -> None:
        try:
            words = arguments[1:]
            command, strange = words[: bool(commands)], words[bool(commands) :]
            if strange:
                raise UserError(
                    f"{strange[0]!r} is not a flag. Every option is written --name=value; "
                    "--help lists them."
                )
            if commands and (not command or command[0] not in commands):
                raise UserError(
                    f"One of {', '.join(commands)} is needed first"
                    + (f", not {command[0]!r}" if command else "")
                    + ". --help explains them."
                )
            main(*command)
        except UserError as error:
            _fail(str(error))
        except OSError as error:
            if error.filename is None and error.errno is None:
                raise
            _fail(f"{error.filename or 'The disk'}: {error.strerror}. Mend that and start again.")

    received = [signal.SIGINT]

    def stop(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        app.run(guarded, flags_parser=_parse)
    except KeyboardInterrupt as interrupt:
        way_on = interrupt.args[0] if interrupt.args else "Nothing is half-made; start again."
        print(f"\nStopped. {way_on}", file=sys.stderr)
        _exit(128 + received[-1])


def _fail(message: str) -> None:
    sys.stdout.flush()
    print(f"\nerror: {message}", file=sys.stderr)
    _exit(2)


def _exit(status: int) -> None:
    """Leaves at once: background threads of a broken-off run must not keep the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    if jax.distributed.is_initialized():
        time.sleep(_SECONDS_FOR_OTHERS)
    os._exit(status)


def _parse(argv: list[str]) -> list[str]:
    FLAGS.set_gnu_getopt(True)  # flags may come after a command
    try:
        return FLAGS(argv)
    except flags.Error as error:
        message = str(error).replace("flag --", "--", 1)
        _fail(f"{message.rstrip('.')}. {os.path.basename(argv[0])} --help lists every flag.")
        raise


def _log_plainly() -> None:
    """The project's own messages go to stdout as they are; other libraries' only from warnings."""

    class Plain(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            from tqdm import tqdm  # benchmark.py goes without it

            mark = "warning: " if record.levelno >= logging.WARNING else ""
            tqdm.write(mark + self.format(record), file=sys.stdout)
            sys.stdout.flush()

    logger = logging.getLogger("brainsynth_jax")
    logger.setLevel(logging.INFO)
    logger.handlers = [Plain()]
    logger.propagate = False
    absl_logging.set_verbosity(absl_logging.FATAL)
    for name in ("orbax", "jax"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _help(text: str, presets: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [text.strip(), ""]
    for group in FlagGroup.all:
        lines += [group.title, "-" * len(group.title)]
        for name in group.names:
            flag = FLAGS[name]
            values = getattr(flag.parser, "enum_values", None)
            form = "|".join(values) if values else "VALUE"
            lines.append(f"  --{name}" + ("" if flag.boolean else f"={form}"))
            span = f"{group.ranges[name]}; " if name in group.ranges else ""
            default = "off" if flag.boolean else _default(flag)
            others = "".join(
                f"; {preset}: {settings[name]}"
                for preset, settings in presets.items()
                if settings.get(name, flag.default) != flag.default
            )
            note = f" ({span}default: {default}{others})"
            text = flag.help.removeprefix(f"<{form}>: ")
            lines += textwrap.wrap(
                text + note, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6
            )
        lines.append("")
    return "\n".join(lines).rstrip()
