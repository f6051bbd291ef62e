"""Following a folder: each complete file once, whatever a camera, a person or a network does to the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from panda_core.runs.watch import LOOK, OLD, PATIENCE, FollowedFolder, Seen, one_line


class Clock:
    """Looks at a folder, half a second after each other, and takes what is complete for judged."""

    def __init__(self, folder: FollowedFolder) -> None:
        self.folder, self.now = folder, 0.0

    def look(self) -> list[str]:
        files = self.folder.look(self.now)
        self.now += LOOK
        self.folder.judged |= {file.key for file in files if self.folder.is_unchanged(file)}
        return [file.place for file in files]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def clock(folder: Path) -> Clock:
    return Clock(FollowedFolder(folder))


def write(path: Path, content: str = "x", modified: float = 1e9) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (modified, modified))


def test_a_file_is_complete_once_it_no_longer_grows(folder: Path, clock: Clock) -> None:
    """Half a picture that is judged while the camera still writes it; one that is judged twice."""
    for length in range(1, 5):
        write(folder / "a.png", "x" * length, 1e9 + length)
        assert clock.look() == []
    assert [clock.look() for _ in range(3)] == [["a.png"], [], []]


def test_a_file_written_anew_is_another_image(folder: Path, clock: Clock) -> None:
    """A camera that always writes the same name, of which one picture is judged."""
    for time in (1e9, 1e9 + 1):
        write(folder / "last.png", "x", time)
        assert [clock.look(), clock.look(), clock.look()] == [[], ["last.png"], []]


def test_renamed_hidden_and_other_files(folder: Path, clock: Clock) -> None:
    """A temporary name that is judged; a sidecar of text; a format that is not read and that nobody hears of."""
    for name in ("x.tmp", ".part.png", ".hidden/a.png", "notes.txt", "deep/er/b.JPG", "c.heic"):
        write(folder / name)
    clock.look()
    assert sorted(clock.look()) == ["c.heic", "deep/er/b.JPG"]
    (folder / "x.tmp").rename(folder / "x.png")
    assert [clock.look(), clock.look()] == [[], ["x.png"]]


def test_what_comes_is_judged_before_what_was_there(folder: Path, clock: Clock) -> None:
    """A camera that waits for thousands of old files."""
    for number in range(3000):
        write(folder / f"{number}.png", modified=1e9 + number)
    assert clock.look() == []
    write(folder / "new.png", modified=2e9)
    clock.folder.look(clock.now)
    files = clock.folder.look(clock.now + LOOK)
    assert [file.place for file in files][:3] == ["new.png", "0.png", "1.png"] and len(files) == 3001


def test_what_was_judged_before_a_restart_is_not_judged_again(folder: Path, clock: Clock) -> None:
    """Thousands of lines twice, because the program was started again."""
    write(folder / "a.png")
    (file,) = (clock.look(), clock.folder.look(clock.now))[1]
    again = Clock(FollowedFolder(folder, [file.key]))
    write(folder / "b.png")
    assert [again.look(), again.look(), again.look()] == [[], ["b.png"], []]


def test_removed_and_changed_while_it_is_read(folder: Path) -> None:
    """A line that says `unreadable` of a file that was moved away, or the score of half of what is there now."""
    followed = FollowedFolder(folder)
    for name in ("a.png", "b.png"):
        write(folder / name)
    followed.look(0)
    first, second = followed.look(1)
    (folder / "a.png").unlink()
    write(folder / "b.png", "more")
    assert not followed.is_unchanged(first) and followed.vanished == 1
    assert not followed.is_unchanged(second) and followed.vanished == 1
    assert followed.look(2) == [] and [file.size for file in followed.look(3)] == [4]


def test_a_folder_that_is_away_for_a_while(folder: Path, clock: Clock) -> None:
    """A network share that comes back, and a program that ended meanwhile or judges everything anew."""
    write(folder / "a.png")
    assert [clock.look(), clock.look()] == [[], ["a.png"]]
    folder.rename(folder.with_name("away"))
    assert clock.look() == [] and "cannot be listed" in clock.folder.problem
    folder.with_name("away").rename(folder)
    assert clock.look() == [] and clock.folder.problem == ""


def test_links_to_folders_are_not_followed(folder: Path, clock: Clock) -> None:
    """A link to its own folder, in which a program walks for ever."""
    write(folder / "a.png")
    (folder / "loop").symlink_to(folder)
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    assert [clock.look(), clock.look()] == [[], ["a.png"]]


def test_an_unreadable_file_may_still_be_on_its_way(folder: Path, tmp_path: Path) -> None:
    """A line `unreadable` of a picture whose second half came three seconds later; one that is waited for for ever."""
    import time

    followed = FollowedFolder(folder)
    write(folder / "new.png", modified=time.time())
    write(folder / "old.png", modified=time.time() - OLD - 1)
    new, old = sorted((followed.look(0), followed.look(1))[1], key=lambda file: file.place)
    assert followed.may_still_come(new, 1) and not followed.may_still_come(new, PATIENCE)
    assert not followed.may_still_come(old, 1)


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "tab\t", os.fsdecode(b"\xff"), "é 中 ✓"])
def test_a_name_stays_on_its_line(name: str) -> None:
    """A name that tears a table, or that cannot be written at all."""
    line = one_line(name)
    assert len(line.splitlines()) == 1 and line.encode() and (line == name) == name.isprintable()
    assert isinstance(Seen(line, name, 1, 1).key, tuple)
