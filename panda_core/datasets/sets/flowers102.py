"""Oxford flowers: 8,189 photographs of 102 species; one-class tasks over the first twenty species.

PANDA's protocol, as its count of 7,169 test images implies: the ten images a species of `trnid` are for training,
`valid` (1,020) and `tstid` (6,149) together for testing. Copies are about that exchange `trnid` and `tstid` to train
on more; they are refused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from panda_core.datasets.io.downloads import by_command, torchvision_download
from panda_core.datasets.io.images import FileImages
from panda_core.datasets.io.places import find_folder, how_to_get
from panda_core.datasets.one_class import Dataset, LabelledSplits
from panda_core.errors import DataMissing, UsageError

# Species 1 to 102, in the order of the official labels.
_SPECIES = """
pink primrose, hard-leaved pocket orchid, canterbury bells, sweet pea, english marigold, tiger lily, moon
orchid, bird of paradise, monkshood, globe thistle, snapdragon, colt's foot, king protea, spear thistle, yellow
iris, globe-flower, purple coneflower, peruvian lily, balloon flower, giant white arum lily, fire lily,
pincushion flower, fritillary, red ginger, grape hyacinth, corn poppy, prince of wales feathers, stemless
gentian, artichoke, sweet william, carnation, garden phlox, love in the mist, mexican aster, alpine sea holly,
ruby-lipped cattleya, cape flower, great masterwort, siam tulip, lenten rose, barbeton daisy, daffodil, sword
lily, poinsettia, bolero deep blue, wallflower, marigold, buttercup, oxeye daisy, common dandelion, petunia,
wild pansy, primula, sunflower, pelargonium, bishop of llandaff, gaura, geranium, orange dahlia, pink-yellow
dahlia, cautleya spicata, japanese anemone, black-eyed susan, silverbush, californian poppy, osteospermum,
spring crocus, bearded iris, windflower, tree poppy, gazania, azalea, water lily, rose, thorn apple, morning
glory, passion flower, lotus, toad lily, anthurium, frangipani, clematis, hibiscus, columbine, desert-rose, tree
mallow, magnolia, cyclamen, watercress, canna lily, hippeastrum, bee balm, ball moss, foxglove, bougainvillea,
camellia, mallow, mexican petunia, bromelia, blanket flower, trumpet creeper, blackberry lily
"""
SPECIES = tuple(" ".join(_SPECIES.split()).split(", "))
CLASSES = SPECIES[:20]
FOLDERS = ("flowers-102", "flowers102")  # the first is torchvision's
WANTED = ("jpg", "imagelabels.mat", "setid.mat")
SOURCE = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
AGAIN = f"Fetch it again from {SOURCE}."
LARGEST_FILE = 1_000_000  # bytes; the official ones have 15 kB at most


def open_splits(root: Path, normal_class: str, seed: int) -> LabelledSplits:
    """Return `trnid` for training, `valid` and `tstid`, in this order, for testing; `seed` is not used."""
    folder = find_folder(root, FOLDERS, WANTED)
    if folder is None:
        raise DataMissing(_how_to_get(root))
    labels = _numbers(folder / "imagelabels.mat", "labels", highest=len(SPECIES))
    parts = [_numbers(folder / "setid.mat", name, highest=len(labels)) for name in ("trnid", "valid", "tstid")]
    together = np.concatenate(parts)
    if len(np.unique(together)) != len(together):
        raise UsageError(f"`{folder / 'setid.mat'}` lists an image in two of its parts. {AGAIN}")
    if len(parts[0]) > len(parts[2]):
        raise UsageError(
            f"`{folder / 'setid.mat'}` has {len(parts[0])} training images (`trnid`) and {len(parts[2])} test images "
            f"(`tstid`): they are exchanged; officially there are 1,020 and 6,149. {AGAIN}"
        )
    halves = (parts[0], np.concatenate(parts[1:]))
    train, test = (FileImages.below(folder / "jpg", [f"image_{row:05d}.jpg" for row in half]) for half in halves)
    train_labels, test_labels = (np.array(SPECIES)[labels[half - 1] - 1] for half in halves)
    return LabelledSplits(train, train_labels, test, test_labels, normal_class)


def _numbers(path: Path, name: str, highest: int) -> np.ndarray:
    """Return the numbers, from 1, that a MATLAB file holds under `name`, as int64 (N,)."""
    from scipy.io import loadmat  # takes a moment to import

    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"it has more than {LARGEST_FILE // 1_000_000} MB")
        numbers = np.asarray(loadmat(path, variable_names=[name])[name]).ravel()
        if numbers.dtype.kind not in "uif" or not np.isin(numbers, range(1, highest + 1)).all() or not len(numbers):
            raise ValueError(f"`{name}` must be whole numbers from 1 to {highest}")
    except KeyError as error:
        raise UsageError(f"`{path}` cannot be used: it has no entry `{name}`. {AGAIN}") from error
    except Exception as error:  # a damaged file can end in nearly any exception
        raise UsageError(f"`{path}` cannot be used: {error}. {AGAIN}") from error
    return numbers.astype(np.int64)


def _how_to_get(root: Path) -> str:
    return how_to_get(
        "Oxford flowers",
        files="102flowers.tgz (345 MB), imagelabels.mat and setid.mat (15 kB each)",
        source=SOURCE,
        folder=root / FOLDERS[0],
        wanted=WANTED,
        rest=by_command("flowers102"),
        then=" and unpack the first",
    )


FLOWERS102 = Dataset(
    key="flowers102",
    title="Oxford flowers (102)",
    about=(
        "Photographs of 102 species of flowers: the official ten training images of each (1,020), and validation and "
        "test part together for testing (7,169). Only the first twenty species are taken as normal; all 102 are tested."
    ),
    source=SOURCE,
    licence="none stated; cite the paper",
    citation=(
        "Nilsback, M.-E. & Zisserman, A. Automated Flower Classification over a Large Number of Classes. ICVGIP 2008. "
        "doi:10.1109/ICVGIP.2008.47"
    ),
    image_size=224,
    classes=lambda root: CLASSES,
    open=open_splits,
    missing=lambda root: None if find_folder(root, FOLDERS, WANTED) else _how_to_get(root),
    download=torchvision_download("Flowers102"),
)
