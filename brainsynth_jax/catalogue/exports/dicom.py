"""Images as DICOM: MR images, and segmentations of their masks. The one place that knows DICOM.

Nothing in them is of a patient, or was before: names and numbers are made up, identifiers drawn
anew at each export.
"""

from collections.abc import Iterable
from pathlib import Path

import highdicom
import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues
from pydicom import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import DSfloat

from brainsynth_jax.catalogue.exports.items import (
    LABEL,
    MASK_CODES,
    USE,
    Item,
    describe_item,
    describe_making,
    in_utc,
)
from brainsynth_jax.catalogue.exports.tables import open_table
from brainsynth_jax.data.masks import CORE, ENHANCING, OEDEMA, TUMOR

ABOUT = """\
`SYN-NUMBER/image.dcm` is an MR image of a patient of its own, who does not exist: name
SYNTHETIC^NUMBER, number SYN- and the start of the content hash, without sex and date of birth.
`segmentation.dcm` beside it is a DICOM segmentation of the same study, with a segment for each
class of tumour in its mask; an image without tumour has none. All identifiers (UIDs) are new at
each export. Where the size of a pixel is not known it is written as 1 mm. `images.csv` has a row
for each image:"""

_MAKER = "brainsynth_jax"
_NAMES = {"flair": "FLAIR", "t1": "T1", "t1ce": "T1 contrast-enhanced", "t2": "T2"}

# Of DICOM's context group 7159, Lesion Segmentation Type, which tells no parts of a tumour apart;
# the segments' labels do.
_TYPES = {
    OEDEMA: codes.SCT.Edema,
    CORE: codes.SCT.Necrosis,
    ENHANCING: codes.SCT.NeoplasmPrimary,
    TUMOR: codes.SCT.Neoplasm,
}


def write_dicom(folder: Path, items: Iterable[Item]) -> None:
    """Writes a folder for each image, and images.csv.

    Raises:
        OSError: the disk refuses.
    """
    with open_table(folder / "images.csv") as add:
        for item in items:
            name = f"SYN-{item.name}"
            image = make_image(item)
            (folder / name).mkdir()
            image.save_as(folder / name / "image.dcm", enforce_file_format=True)
            segmentation = make_segmentation(item, image)
            if segmentation is not None:
                segmentation.save_as(folder / name / "segmentation.dcm", enforce_file_format=True)
            uids = {
                "study_uid": image.StudyInstanceUID,
                "image_uid": image.SOPInstanceUID,
                "segmentation_uid": segmentation and segmentation.SOPInstanceUID,
            }
            add({"patient_id": image.PatientID, **uids, **describe_item(item)})


def make_image(item: Item) -> Dataset:
    """An MR image of 16 bits, of which 8 are used, as black and white as in the catalogue.

    Its row 0 is anterior and its column 0 the patient's right, so in the patient's coordinates
    (x to the left, y to the back) columns go along x and rows along y; the middle is at 0 mm.
    """
    made = in_utc(item.row.batch.made_at)
    date, time = f"{made:%Y%m%d}", f"{made:%H%M%S}"
    between_mm, row_mm, column_mm = item.spacing_mm
    rows, columns = item.pixels.image.shape
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SpecificCharacterSet = "ISO_IR 192"
    image.TimezoneOffsetFromUTC = "+0000"

    image.PatientName = f"{LABEL}^{item.name}"
    # By its content: an image of another catalogue is another patient, and the same one is not.
    image.PatientID = f"SYN-{item.row.content_hash[:16]}"
    image.PatientBirthDate = image.PatientSex = ""
    _mark_no_patient(image)

    image.StudyInstanceUID = generate_uid()
    image.StudyDate, image.StudyTime = date, time
    image.StudyID = item.name[-16:]
    image.StudyDescription = f"{LABEL}, not for diagnosis"
    image.AccessionNumber = image.ReferringPhysicianName = ""

    image.Modality = "MR"
    image.SeriesInstanceUID = generate_uid()
    image.SeriesNumber = 1
    image.SeriesDescription = f"{LABEL} {_NAMES[item.modality]}"
    image.BodyPartExamined = "BRAIN"
    image.PatientPosition = "HFS"
    image.FrameOfReferenceUID = generate_uid()
    image.PositionReferenceIndicator = ""
    image.Manufacturer = _MAKER
    image.ManufacturerModelName = item.row.origin.model
    image.SoftwareVersions = item.row.origin.code_version[:64]
    image.DeviceSerialNumber = item.row.origin.checkpoint_hash[:64]

    image.SOPClassUID = MRImageStorage
    image.SOPInstanceUID = generate_uid()
    image.InstanceNumber = 1
    image.ContentDate, image.ContentTime = date, time
    image.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    image.DerivationDescription = f"Synthetic image, {describe_making(item.row)}"[:1024]
    image.ImageComments = USE
    image.BurnedInAnnotation = "YES" if item.labelled else "NO"
    image.ScanningSequence = "RM"  # research mode, since none of the others was used
    image.SequenceVariant = "NONE"
    image.ScanOptions = image.MRAcquisitionType = ""
    image.EchoTime = image.EchoTrainLength = image.RepetitionTime = None

    image.ImagePositionPatient = [
        _as_number(-(columns - 1) / 2 * column_mm),
        _as_number(-(rows - 1) / 2 * row_mm),
        0,
    ]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.PixelSpacing = [_as_number(row_mm), _as_number(column_mm)]
    image.SliceThickness = _as_number(between_mm)

    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = rows, columns
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 8, 7
    image.PixelRepresentation = 0
    image.WindowCenter, image.WindowWidth = 128, 256
    image.PixelData = item.pixels.image.astype("<u2").tobytes()
    return image


def make_segmentation(item: Item, image: Dataset) -> Segmentation | None:
    """The classes of tumour in an image's mask; None where there are none.

    Args:
        item: the image.
        image: of `make_image`.
    """
    mask = item.pixels.mask
    present = [] if mask is None else [code for code in _TYPES if (mask == code).any()]
    if not present:
        return None
    origin = item.row.origin
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=f"{_MAKER} {origin.model}",
        family=codes.DCM.ArtificialIntelligence,
        version=origin.code_version[:64],
    )
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=MASK_CODES[code].capitalize(),
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=_TYPES[code],
            algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            anatomic_regions=[codes.SCT.Brain],
        )
        for number, code in enumerate(present, start=1)
    ]
    segmentation = Segmentation(
        source_images=[image],
        pixel_array=np.stack([mask == code for code in present], axis=-1)[None],
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=_MAKER,
        manufacturer_model_name=origin.model,
        software_versions=origin.code_version[:64],
        device_serial_number=origin.checkpoint_hash[:64],
        content_label="SYNTHETIC_MASK",
        content_description="Mask of tumour of a synthetic image",
        series_description=f"{LABEL} mask of tumour",
    )
    for name in ("ContentDate", "ContentTime", "TimezoneOffsetFromUTC"):
        setattr(segmentation, name, getattr(image, name))
    _mark_no_patient(segmentation)
    return segmentation


def _mark_no_patient(dataset: Dataset) -> None:
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "Synthetic: drawn by a neural network, not acquired"
    dataset.ContentQualification = "RESEARCH"


def _as_number(value: float) -> DSfloat:
    """As DICOM has numbers, in 16 characters at most."""
    return DSfloat(value, auto_format=True)
