"""The same labelled images in every format that `folders` reads, as its tool would write them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from arm_jax.data import sources

SIZE = (40, 48)
NAMES = ("road", "building", "sky")
COLORS = ((128, 64, 128), (70, 70, 70), (70, 130, 180))
# In the order in which they were drawn; the building covers a part of the road.
SHAPES = (
    ("sky", [(0, 0), (48, 0), (48, 11.25), (0, 13.75)]),
    ("road", [(0, 22.25), (48, 20.75), (48, 40), (0, 40)]),
    ("building", [(6.25, 30.25), (14.75, 9.25), (33.25, 33.75)]),
)
SPLITS = {"train": ("a", "b"), "val": ("c",)}


def opened(root, split="train", **options):
    """The source that `folders` makes of these files."""
    return sources.open_source("folders", root=root, split=split, **options)


def label() -> np.ndarray:
    """uint8 (h, w): the class of each pixel's centre, by the angle that each outline turns by."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    found = np.full(SIZE, 255, np.uint8)
    for name, corners in SHAPES:
        points = np.array(corners) - 0.0
        angles = np.arctan2(points[:, 1, None, None] - y[None], points[:, 0, None, None] - x[None])
        turns = (np.roll(angles, -1, 0) - angles + np.pi) % (2 * np.pi) - np.pi
        found[np.abs(turns.sum(0)) > 1] = NAMES.index(name)
    return found


def image() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 30, (*SIZE, 3))
    return (noise + np.where(label() == 255, 3, label())[..., None] * 60).astype(np.uint8)


def each(root, images="images/{split}", labels="labels/{split}", ending=""):
    """Write the images; (split, folder of labels, name) of each."""
    for split, names in SPLITS.items():
        for name in names:
            folder = Path(root, images.format(split=split))
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image()).save(folder / f"{name}{ending}.png")
            place = Path(root, labels.format(split=split))
            place.mkdir(parents=True, exist_ok=True)
            yield split, place, name


def painted(background=(0, 0, 0)) -> np.ndarray:
    colors = np.array([background] * 256, np.uint8)
    colors[:3] = COLORS
    return colors[label()]


def index(root):
    for _, place, name in each(root):
        Image.fromarray(label()).save(place / f"{name}.png")
    return {"classes": NAMES}


def palette_with_classes_txt(root):
    """As scripts/coarsen.py writes it."""
    for _, place, name in each(root):
        picture = Image.fromarray(label())
        picture.putpalette(np.array([*COLORS, *[(0, 0, 0)] * 253], np.uint8).tobytes())
        picture.save(place / f"{name}.png")
    Path(root, "classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    return {}


def rgb_with_colors(root):
    for _, place, name in each(root):
        Image.fromarray(painted()).save(place / f"{name}_gt.png")
    return {"classes": NAMES, "colors": COLORS}


def rgba_with_label_colors(root):
    """CamVid's list; transparent where nobody painted."""
    for _, place, name in each(root):
        alpha = np.where(label() == 255, 0, 255).astype(np.uint8)
        Image.fromarray(np.dstack([painted((9, 9, 9)), alpha])).save(place / f"{name}.png")
    lines = [f"{r} {g} {b}\t{name}\n" for name, (r, g, b) in zip(NAMES, COLORS, strict=True)]
    Path(root, "label_colors.txt").write_text("".join(lines))
    return {}


def cvat_masks(root):
    """Segmentation mask 1.1: VOC's folders, lists and labelmap.txt, classes in another order."""
    for split, place, name in each(root, "JPEGImages", "SegmentationClass"):
        Image.fromarray(painted()).save(place / f"{name}.png")
        lists = Path(root, "ImageSets", "Segmentation")
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{split}.txt").write_text("".join(f"{n}\n" for n in SPLITS[split]))
    pairs = list(zip(NAMES, COLORS, strict=True))[::-1]
    rows = ["background:0,0,0::"] + [f"{n}:{r},{g},{b}::" for n, (r, g, b) in pairs]
    Path(root, "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "\n".join(rows))
    return {"classes": NAMES}


def roboflow_masks(root):
    """Masks beside the images, and _classes.csv of numbers, of which 0 is what nobody drew."""
    for _, place, name in each(root, "{split}", "{split}"):
        stored = np.where(label() == 255, 0, label() + 1).astype(np.uint8)
        Image.fromarray(stored).save(place / f"{name}_mask.png")
        rows = [f" {k + 1}, {name}\n" for k, name in enumerate(NAMES)]
        (place / "_classes.csv").write_text("Pixel Value, Class\n 0, background\n" + "".join(rows))
    return {}


def mapillary(root):
    for _, place, name in each(root, "{split}/images", "{split}/labels"):
        Image.fromarray(np.where(label() == 255, 3, label()).astype(np.uint8)).save(
            place / f"{name}.png"
        )
    labels = [
        {"name": f"x--{n}", "readable": n, "color": color, "evaluate": True}
        for n, color in zip(NAMES, COLORS, strict=True)
    ]
    labels.append({"name": "car-mount", "readable": "Mount", "color": [1, 2, 3], "evaluate": False})
    Path(root, "config.json").write_text(json.dumps({"labels": labels, "version": "1.2"}))
    return {}


def labelme(root):
    for _, place, name in each(root, labels="images/{split}"):
        shapes = [
            {"label": n, "points": points, "shape_type": "polygon", "flags": {}}
            for n, points in SHAPES
        ]
        content = {"version": "5.4.1", "shapes": shapes, "imagePath": f"../../{name}.png"}
        content |= {"imageHeight": SIZE[0], "imageWidth": SIZE[1], "imageData": None}
        (place / f"{name}.json").write_text(json.dumps(content))
    return {"classes": NAMES}


def drawn(root, shapes, **content):
    """One image, and these shapes as LabelMe writes them."""
    (root / "images").mkdir(exist_ok=True)
    Image.fromarray(image()).save(root / "images" / "a.png")
    text = json.dumps({"shapes": shapes, **content})
    (root / "images" / "a.json").write_text(text)


def cityscapes(root):
    folders = ("leftImg8bit/{split}/town", "gtFine/{split}/town", "_leftImg8bit")
    for _, place, name in each(root, *folders):
        objects = [{"label": f"{n}group", "polygon": points} for n, points in SHAPES]
        objects.append({"label": "road", "deleted": 1, "polygon": [[0, 0], [9, 0], [9, 9]]})
        content = {"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": objects}
        (place / f"{name}_gtFine_polygons.json").write_text(json.dumps(content))
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(place / f"{name}_gtFine_color.png")
    return {"classes": NAMES, "image_folder": "leftImg8bit", "label_folder": "gtFine"}


def yolo(root):
    for _, place, name in each(root, "{split}/images", "{split}/labels"):
        lines = []
        for n, points in SHAPES:
            shares = [value for x, y in points for value in (x / SIZE[1], y / SIZE[0])]
            lines.append(" ".join(map(str, [NAMES.index(n), *shares])))
        (place / f"{name}.txt").write_text("\n".join(lines))
    Path(root, "data.yaml").write_text(f"nc: 3\nnames: {list(NAMES)}\n")
    return {}


def via(root):
    for split, _, _ in each(root, labels="images/{split}"):
        entries = {}
        for name in SPLITS[split]:
            regions = [
                {
                    "shape_attributes": {
                        "name": "polygon",
                        "all_points_x": [x for x, _ in points],
                        "all_points_y": [y for _, y in points],
                    },
                    "region_attributes": {"type": n},
                }
                for n, points in SHAPES
            ]
            entries[f"{name}.png123"] = {"filename": f"{name}.png", "size": 123, "regions": regions}
        project = {"_via_settings": {}, "_via_img_metadata": entries, "_via_attributes": {}}
        Path(root, "images", split, "via_project.json").write_text(json.dumps(project))
    return {"classes": NAMES}


def coco(root, segmentation=None, stated="images\\{split}\\{name}.png"):
    """One annotations.json for all splits."""
    content = {"images": [], "annotations": [], "categories": []}
    for k, n in enumerate(NAMES):
        content["categories"].append({"id": 10 - k, "name": n})
    for split, _, name in each(root, labels="images/{split}"):
        number = len(content["images"]) + 1
        file_name = stated.format(split=split, name=name)
        size = {"height": SIZE[0], "width": SIZE[1]}
        content["images"].append({"id": number, "file_name": file_name, **size})
        for n, points in SHAPES:
            part = [[float(value) for point in points for value in point]]
            content["annotations"].append(
                {
                    "id": len(content["annotations"]),
                    "image_id": number,
                    "category_id": 10 - NAMES.index(n),
                    "segmentation": part if segmentation is None else segmentation(n),
                }
            )
    Path(root, "annotations.json").write_text(json.dumps(content))
    return {"classes": NAMES}


def runs(name):
    """Uncompressed run lengths, down the columns, of what is seen of a class: stuff."""
    seen = np.concatenate([[False], (label() == NAMES.index(name)).T.reshape(-1), [False]])
    changes = np.flatnonzero(seen[1:] != seen[:-1])
    counts = np.diff(np.concatenate([[0], changes, [seen.size - 2]])).tolist()
    return {"size": list(SIZE), "counts": counts}


def compressed(name):
    counts, text = runs(name)["counts"], ""
    for k, count in enumerate(counts):
        value = count - counts[k - 2] if k > 2 else count
        more = True
        while more:
            code, value = value & 31, value >> 5
            more = value != (-1 if code & 16 else 0)
            text += chr(48 + code + 32 * more)
    return {"size": list(SIZE), "counts": text}


def coco_runs(root):
    return coco(root, runs)


def coco_compressed(root):
    return coco(root, compressed, "{name}.png")


# What writes a root -> the title that `about` gives its labels.
KINDS = {
    index: "class indices",
    palette_with_classes_txt: "class indices",
    rgb_with_colors: "colours",
    rgba_with_label_colors: "colours",
    cvat_masks: "colours",
    roboflow_masks: "class indices",
    mapillary: "class indices",
    labelme: "LabelMe JSON",
    cityscapes: "Cityscapes-style JSON",
    yolo: "YOLO polygons",
    via: "VIA JSON",
    coco: "COCO JSON",
    coco_runs: "COCO JSON",
    coco_compressed: "COCO JSON",
}
