"""What was understood of dropped photos: all of them at once, which are bad, what can be seen on them, and *Learn*."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.thumbnails import enlarged
from pages.shared.gallery.tiles import Tile, show_tiles, truth_of
from pages.shared.own.closer import choose_tiles, told
from pages.shared.own.drop import show_left_out
from pages.shared.own.region import marking_of, region_of_upload
from pages.shared.own.removal import MESSAGE, show_removal
from pages.shared.own.steps import CHECK, LEARNED, STAGE, VIEW
from pages.shared.region.marking import choose_region, show_region
from pages.shared.runs.choice import IMAGE, open_run
from panda_core.config import TILES_OFF, RunConfig
from panda_core.datasets import FileImages
from panda_core.datasets.own.images import FEWEST
from panda_core.datasets.own.size import learning_side
from panda_core.errors import PandaError, UnreadableImage
from panda_core.figures.patches import data_url
from panda_core.runs import launch as launching
from panda_core.runs.corrections import correct, is_normal
from panda_core.runs.uploads import Upload
from panda_core.segmentation.detail import Detail, detail_of

PATCHES, ADAPT = "Patches", "Whole photo"
_RECIPES = {PATCHES: "patchcore", ADAPT: "panda-early"}
_MAP_SIZES = (224, 448, 672)  # pixels that a network looks at; the first is the quickest
PER_PAGE, SIDE = 60, 96
ORDER = "own-order"  # in the session: (token of an upload, the places of its photos as they are shown)


def show_look(upload: Upload) -> None:
    """Draw what was understood of an upload, and the choice of how it is learned."""
    left, right = st.columns([1, 2], gap="large")
    with left:
        _counts(upload)
        partly = _learn(upload)
        show_left_out(upload.understood)
        show_removal(upload.token)
    with right:
        if partly:
            show_region(marking_of(upload))
        _photos(upload)


def _counts(upload: Upload) -> None:
    understood = upload.understood
    bad = sum(understood.anomalies.values())
    parts = [f"**{understood.normals:,} good**", f"**{bad:,} bad**"]
    if understood.masks:
        parts.append(f"**{wording.count(understood.masks, 'mask')}**")
    small, large = (f"{width:,} × {height:,}" for width, height in (understood.smallest, understood.largest))
    sizes = f"{small} px" if small == large else f"{small} to {large} px"
    st.markdown(f"{', '.join(parts)}; {sizes}.", help=tip("own_kinds"))
    if len(understood.anomalies) > 1:
        st.caption(f"Kinds of bad photos: {wording.sentence(', '.join(understood.anomalies))}")


def _photos(upload: Upload) -> None:
    """Draw all photos; a click says that a photo is bad, or good after all."""
    names = upload.names()
    places = order_of(upload)
    st.markdown("**Click on a photo that is bad.** Nothing is learned from it; it shows how well bad ones are told.")
    pages = max(1, -(-len(places) // PER_PAGE))
    page = st.pagination(pages, key="own-page", width="stretch") if pages > 1 else 1
    start = ((page or 1) - 1) * PER_PAGE
    shown = places[start : start + PER_PAGE]
    pictures = pictures_of(upload, shown, SIDE)
    show_tiles(
        [
            Tile(start + row, picture, names[place], truth_of(not is_normal(place)))
            for row, (place, picture) in enumerate(zip(shown, pictures, strict=True))
        ],
        key="own-photos",
        label="Your photos",
        on_click=lambda number: say(upload, number),
        side=SIDE,
    )


def order_of(upload: Upload) -> list[str]:
    """Return the places of all photos as they are shown: those first that were bad when somebody first saw them.

    One that is clicked stays where it is: the next click must meet what lies under the pointer, and what a browser
    calls the fifth photo is the fifth here, also where it has not yet heard of the click before.
    """
    names = upload.names()
    token, known = st.session_state.get(ORDER, ("", []))
    kept = [place for place in known if place in names] if token == upload.token else []
    found = kept + sorted(set(names) - set(kept), key=lambda place: (is_normal(place), place))
    st.session_state[ORDER] = (upload.token, found)
    return found


def say(upload: Upload, number: int) -> None:
    """Change what a photo counts as; for a click on it. number: its place among those that are shown."""
    places = order_of(upload)
    place = places[number]
    try:
        (target,) = set(correct(upload, place, is_anomaly=is_normal(place)).names()) - set(places)
    except PandaError as error:
        st.session_state[MESSAGE] = str(error)
        return
    st.session_state[ORDER] = (upload.token, [target if one == place else one for one in places])


def pictures_of(upload: Upload, places: list[str], side: int) -> list[str]:
    """Return images of an upload in small, as addresses that hold them; "" for one that is gone."""
    found = []
    for place in places:
        try:
            written = (upload.images / place).stat().st_mtime_ns  # a correction may give a place to another image
            found.append(_picture(str(upload.images), place, written, side))
        except (OSError, UnreadableImage):  # removed meanwhile
            found.append("")
    return found


@st.cache_data(max_entries=3000, max_size="100MB", show_spinner=False)
def _picture(folder: str, place: str, written: int, side: int) -> str:
    return data_url(enlarged(FileImages.below(Path(folder), [place]).load(0), side))


def _learn(upload: Upload) -> bool:
    """Draw the choice of method and detail, and the button that starts; return whether a part of the photos counts."""
    method = st.segmented_control(
        "Compare", (PATCHES, ADAPT), default=PATCHES, key="own_method", help=tip("own_method"), required=True
    )
    method = method or PATCHES
    sizes = _MAP_SIZES if method == PATCHES else (learning_side(min(upload.understood.largest)), 224)
    size = st.segmented_control(
        "Detail",
        range(len(sizes)),
        default=0,
        key=f"own_detail_{method}",
        format_func=lambda number: _size_label(sizes[number], sizes[0]),
        help=tip("own_detail"),
        required=True,
        wrap=True,
    )
    chosen = sizes[size or 0]
    tiles = choose_tiles(upload, chosen) if method == PATCHES else TILES_OFF
    detail = detail_of_upload(upload, chosen, tiles, maps=method == PATCHES)
    if detail is not None:
        st.caption(told(detail, maps=method == PATCHES))
    partly = choose_region(marking_of(upload))
    enough = upload.understood.normals >= FEWEST
    if not enough:
        words = f"{wording.count(upload.understood.normals, 'good photo')} so far; {FEWEST} are needed to begin."
        st.warning(words, icon=":material/add_a_photo:")
    st.button(
        "Learn what is normal",
        icon=":material/school:",
        type="primary",
        key="own-learn",
        width="stretch",
        disabled=not enough,
        help=tip("own_learn"),
        on_click=start_learning,
        args=(upload, _RECIPES[method], chosen, region_of_upload(upload), tiles),
    )
    return partly


def _size_label(size: int, quickest: int) -> str:
    """Return a size and how many times as long it takes, which goes with the number of pixels."""
    times = round((size / quickest) ** 2)
    return f"{size} px" + (f", {times} × the time" if times > 1 else "")


def detail_of_upload(upload: Upload, image_size: int, tiles: str, *, maps: bool) -> Detail | None:
    """Return what detail is left of the largest photo of an upload; None without photos."""
    photo = upload.understood.largest
    return detail_of(photo, image_size, maps=maps, tiles=tiles) if max(photo) else None


def start_learning(upload: Upload, recipe: str, image_size: int | None, roi: str = "", tiles: str = TILES_OFF) -> None:
    """Start a run on an upload and put it into the address; for buttons. roi: the file of its region of interest."""
    name = f"My {upload.understood.normals} good photos"
    try:
        dataset = f"folder:{upload.images.resolve()}"
        config = RunConfig(recipe=recipe, dataset=dataset, image_size=image_size, name=name, roi=roi, tiles=tiles)
        folder = launching.start(config)
    except PandaError as error:
        st.session_state[MESSAGE] = str(error)
        return
    for key in (STAGE, IMAGE, CHECK):  # of the run before
        st.query_params.pop(key, None)
    st.session_state[VIEW] = LEARNED  # the new one shows first what it makes of what it knows
    open_run(folder.run_id)
