"""What the benchmarks share: the command line, and pages that are rewritten section by section."""

import statistics
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from decant.core.environment import hardware, versions
from decant.core.errors import UserError
from decant.core.stage import configure_libraries

ROOT = Path(__file__).parents[1]


def run(main: Callable[[list[str]], int | None], documentation: str | None) -> NoReturn:
    """Run a benchmark with the arguments of the command line; `--help` prints its documentation."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(documentation)
        sys.exit()
    configure_libraries()
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        sys.exit(2)


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names, and arguments of the form key=value."""
    return [a for a in arguments if "=" not in a], [a for a in arguments if "=" in a]


def split_options(arguments: Sequence[str], names: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Options of a benchmark, by name, and the overrides of the config, from arguments of the form key=value."""
    pairs = [(a.partition("=")[0], a.partition("=")[2]) for a in arguments]
    options = {key: value for key, value in pairs if key in names}
    return options, [a for a, (key, _) in zip(arguments, pairs, strict=True) if key not in names]


def one_name(names: Sequence[str]) -> str:
    """The only experiment that the command line names.

    Raises:
        UserError: it names none, or several.
    """
    if len(names) != 1:
        raise UserError(f"found {' '.join(names) or 'none'}, expected one file of conf/experiment/, such as default")
    return names[0]


def number(options: Mapping[str, str], name: str, default: int) -> int:
    """The value of an option that is a whole number.

    Raises:
        UserError: it is none.
    """
    value = options.get(name, str(default))
    if not value.isdecimal():
        raise UserError(f"{name}={value}, expected a whole number, such as {name}={default}")
    return int(value)


def title(name: str, overrides: Sequence[str]) -> str:
    """The title of a section: the experiment without its hardware."""
    return " ".join([name, *(v for v in overrides if not v.startswith("trainer"))])


def machine(overrides: Sequence[str]) -> str:
    """Hardware, versions and overrides, for the text above a table."""
    changed = f" Changed: `{' '.join(overrides)}`." if overrides else ""
    return f"{hardware()}; {versions('torch', 'transformers', 'pytorch-lightning')}.{changed}"


def mean_and_std(values: Sequence[float], digits: int = 2) -> str:
    """Mean and standard deviation; of one value, only the mean."""
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def write(page: str, name: str, lines: Sequence[str]) -> None:
    """Replace or add the section `name` of benchmarks/<page>; sections are sorted by name."""
    file = ROOT / "benchmarks" / page
    head, *sections = file.read_text("utf-8").split("\n## ")
    by_name = {section.partition("\n")[0]: section.strip("\n") for section in sections}
    by_name[name] = "\n".join([name, "", *lines])
    body = "".join(f"\n## {by_name[n]}\n" for n in sorted(by_name))
    file.write_text(head.strip("\n") + "\n" + body, "utf-8")
