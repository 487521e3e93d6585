"""Where the pages find each other: on a server, or in a folder of files."""

from pathlib import PurePosixPath
from typing import Protocol


class Links(Protocol):
    """Addresses as the templates write them."""

    def asset(self, name: str) -> str:
        """A stylesheet or a script."""

    def page(self, number: int) -> str:
        """A page of many images, the first is 1; of a server, the one that shows all."""

    def image(self, image_id: int) -> str:
        """The page of one image."""

    def png(self, image_id: int) -> str:
        """The image itself."""

    def mask(self, image_id: int) -> str:
        """Its mask, to be laid over it."""


class ServerLinks:
    """As `app` answers."""

    def asset(self, name: str) -> str:
        """See `Links`."""
        return f"/assets/{name}"

    def page(self, number: int) -> str:
        """See `Links`."""
        return "/"

    def image(self, image_id: int) -> str:
        """See `Links`."""
        return f"/images/{image_id}"

    def png(self, image_id: int) -> str:
        """See `Links`."""
        return f"/images/{image_id}/image.png"

    def mask(self, image_id: int) -> str:
        """See `Links`."""
        return f"/images/{image_id}/mask.png"


class FolderLinks:
    """As `static_copy` writes; all pages lie in one folder."""

    def asset(self, name: str) -> str:
        """See `Links`."""
        return str(PurePosixPath("assets", name))

    def page(self, number: int) -> str:
        """See `Links`."""
        return "index.html" if number == 1 else f"page-{number}.html"

    def image(self, image_id: int) -> str:
        """See `Links`."""
        return f"image-{image_id}.html"

    def png(self, image_id: int) -> str:
        """See `Links`."""
        return f"pictures/{image_id:06d}.png"

    def mask(self, image_id: int) -> str:
        """See `Links`."""
        return f"pictures/{image_id:06d}-mask.png"
