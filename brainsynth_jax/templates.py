"""Templates of pages, wherever they lie in this package. The home of jinja2."""

from collections.abc import Callable

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape


def open_templates(*packages: str, folder: str = ".", **filters: Callable) -> Environment:
    """What renders templates: `open_templates(__package__).get_template("page.html").render(...)`.

    In HTML, what is filled in is escaped. A name that nothing fills in is an error.

    Args:
        packages: in which templates are looked for, one after the other.
        folder: of each of them.
        filters: that templates may use.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, folder) for package in packages]),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment
