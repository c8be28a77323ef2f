"""Folders as people link them together: every file is found once, and no loop is gone round."""

import pytest

from rankwatch.extraction.inputs.folder_search import find_files


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(folder):
    return [str(path.relative_to(folder)) for path in find_files(folder, [".wav"]).files]


def test_links_to_folders_and_files_are_followed(tmp_path):
    touch(
        tmp_path / "disk" / "a" / "0.wav", tmp_path / "disk" / "a" / "deep" / "1.wav", tmp_path / "set" / "b" / "2.WAV"
    )
    (tmp_path / "set" / "a").symlink_to(tmp_path / "disk" / "a")
    (tmp_path / "set" / "3.wav").symlink_to(tmp_path / "disk" / "a" / "0.wav")
    assert names(tmp_path / "set") == ["3.wav", "a/0.wav", "a/deep/1.wav", "b/2.WAV"]


def test_a_link_to_where_it_is_in_is_no_way_out(tmp_path):
    touch(tmp_path / "set" / "a" / "0.wav", tmp_path / "other.wav")
    for name, target in {"self": "set/a", "up": "set", "out": "."}.items():
        (tmp_path / "set" / "a" / name).symlink_to(tmp_path / target)
    assert names(tmp_path / "set") == ["a/0.wav"]


def test_two_links_that_lead_into_each_other(tmp_path):
    touch(tmp_path / "one" / "1.wav", tmp_path / "two" / "2.wav")
    (tmp_path / "one" / "two").symlink_to(tmp_path / "two")
    (tmp_path / "two" / "one").symlink_to(tmp_path / "one")
    assert names(tmp_path / "one") == ["1.wav", "two/2.wav"]


def test_a_folder_that_is_there_twice_counts_once_by_its_own_name(tmp_path):
    touch(tmp_path / "set" / "real" / "0.wav")
    (tmp_path / "set" / "link").symlink_to(tmp_path / "set" / "real")
    assert names(tmp_path / "set") == ["real/0.wav"]


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ([], ""),
        (["a.txt", "b.TXT", "README"], "3 others passed over (2 .txt, 1 without ending)"),
        ([f"x.{c}" for c in "abcdefg"], "7 others passed over (1 .a, 1 .b, 1 .c, 1 .d, 1 .e, 2 more kinds)"),
    ],
)
def test_what_is_passed_over_is_counted(tmp_path, others, words):
    touch(*(tmp_path / name for name in ["0.wav", *others]))
    assert find_files(tmp_path, [".wav"]).passed_over() == words


def test_a_broken_link_is_found_and_named_when_it_is_read(tmp_path):
    touch(tmp_path / "0.wav")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    assert names(tmp_path) == ["0.wav", "gone.wav"]
