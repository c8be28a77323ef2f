"""Manifests in whatever encoding: read where it is known, refused with a way out where it isn't, never guessed."""

import shutil
import subprocess

import pytest

from rankwatch.extraction.inputs.text_files import read_text

TEXT = "path,label\nä.wav,glücklich\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_is_read_with_or_without_its_mark(tmp_path, encoding):
    (tmp_path / "m.csv").write_bytes(TEXT.encode(encoding))
    assert read_text(tmp_path / "m.csv") == TEXT


@pytest.mark.parametrize(
    ("encoding", "text", "first"),
    [("utf-16-be", TEXT, 23), ("utf-16-le", TEXT, 22), ("cp1252", TEXT, 11), ("utf-16-le", "path,label\n", 1)],
)
def test_what_the_message_advises_works(tmp_path, encoding, text, first):
    file = tmp_path / "my manifest.csv"
    file.write_bytes(text.encode(encoding))
    with pytest.raises(ValueError, match=rf"my manifest\.csv is not in UTF-8: byte {first} ") as caught:
        read_text(file)
    if shutil.which("iconv") is None:
        pytest.skip("iconv is not installed")
    command = str(caught.value).partition("Convert it by ")[2].partition(" (with its own")[0]
    subprocess.run(command, shell=True, check=True)
    assert read_text(tmp_path / "my manifest.utf8.csv") == text


def test_half_a_file_is_said_to_be_one(tmp_path):
    (tmp_path / "m.csv").write_bytes(TEXT.encode("utf-16")[:-1])
    with pytest.raises(ValueError, match=r"m.csv: byte 54 is none of UTF-16, in which it begins; is the file whole\?"):
        read_text(tmp_path / "m.csv")
