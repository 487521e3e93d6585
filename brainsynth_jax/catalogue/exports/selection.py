"""The gate through which images leave a catalogue: what may show a patient stays."""

from collections.abc import Iterator

from brainsynth_jax.catalogue.catalogue import Catalogue
from brainsynth_jax.catalogue.filters import Filter
from brainsynth_jax.catalogue.tables import ImageRow, OriginRow

SUSPICIOUS = "suspicious"  # of `evaluation.copies.VERDICTS`

# Its images are slices of patients, to which it proposes masks. No flag lets them out, for every
# file that leaves says that it is synthetic.
_DRAWS_NO_IMAGES = "cyclegan-ab"


class Selection:
    """The images that leave, in the order in which they came. Made by `select`.

    What is counted is true of the images that were taken from it last; of all, once it has ended.

    Attributes:
        wanted: what was asked for.
        with_suspected: whether suspected copies leave.
        images: how many leave.
        suspected: how many of these are suspected copies.
        not_compared: how many of these were never compared with training slices.
        kept_suspected: suspected copies that stay.
        kept_patients: slices of patients, which always stay.
        kept_unmasked: images that stay because they have no mask, where one is needed.
        origins: what made those that leave, by its number in the catalogue, and how many.
    """

    def __init__(
        self, catalogue: Catalogue, wanted: Filter, with_suspected: bool, needs_mask: bool
    ) -> None:
        self._catalogue, self._needs_mask = catalogue, needs_mask
        self.wanted, self.with_suspected = wanted, with_suspected
        self._forget()

    def __iter__(self) -> Iterator[ImageRow]:
        self._forget()
        for row in self._catalogue.each(self.wanted):
            if row.origin.model == _DRAWS_NO_IMAGES:
                self.kept_patients += 1
            elif row.copy_verdict == SUSPICIOUS and not self.with_suspected:
                self.kept_suspected += 1
            elif self._needs_mask and not row.has_mask:
                self.kept_unmasked += 1
            else:
                self.images += 1
                self.suspected += row.copy_verdict == SUSPICIOUS
                self.not_compared += row.copy_verdict is None
                _, before = self.origins.get(row.origin_id, (None, 0))
                self.origins[row.origin_id] = row.origin, before + 1
                yield row

    def _forget(self) -> None:
        self.images = self.suspected = self.not_compared = 0
        self.kept_suspected = self.kept_patients = self.kept_unmasked = 0
        self.origins: dict[int, tuple[OriginRow, int]] = {}


def select(
    catalogue: Catalogue,
    wanted: Filter,
    include_suspected_copies: bool = False,
    needs_mask: bool = False,
) -> Selection:
    """The images that may leave the catalogue, of those that are wanted.

    Args:
        catalogue: open.
        wanted: which are asked for.
        include_suspected_copies: images whose verdict is "suspicious" leave, too.
        needs_mask: images without a mask stay.
    """
    return Selection(catalogue, wanted, include_suspected_copies, needs_mask)


def tell_left(selection: Selection) -> list[str]:
    """Sentences on what has to be known of the images that leave."""
    said = []
    if selection.suspected:
        said.append(
            f"Suspected copies of training slices, which were asked for: {selection.suspected}. "
            "Treat these as you would the patients' own."
        )
    if selection.not_compared:
        said.append(
            f"Without a verdict on copies, by --skip_scores or for too few held-out subjects: "
            f"{selection.not_compared}. Whether these show a patient is not known."
        )
    return said


def tell_kept(selection: Selection) -> list[str]:
    """Sentences on the images that stayed, and why."""
    reasons = {
        "suspected copies of training slices; --include_suspected_copies lets them go": (
            selection.kept_suspected
        ),
        "slices of patients, of which only the mask is synthetic": selection.kept_patients,
        "without a mask, which this format needs": selection.kept_unmasked,
    }
    said = [f"Kept out: {count} ({reason})." for reason, count in reasons.items() if count]
    return said or ["Kept out: none."]
