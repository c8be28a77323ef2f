"""A manifest of labelled clips becomes an evaluation set whose rows know their labels."""

import pickle

import pytest
import torch
from clips import LABELS, RATE, corpus, read, write

import rankwatch
from rankwatch.extraction.eval_sets.labelled_set import LabelledSet
from rankwatch.extraction.rows.row_labels import Labelled, Labels
from rankwatch.runtime.distributed import World


def _edit(path, change):
    """Applies `change` to each (index, row) of a manifest."""
    rows = read(path)
    for i, row in enumerate(rows):
        change(i, row)
    write(path, rows)
    return path


def _pitch(wave):
    """Name of the label whose tone is in it."""
    spectrum = torch.fft.rfft(wave).abs()
    peak = torch.fft.rfftfreq(len(wave), 1 / RATE)[spectrum.argmax()].item()
    return min(LABELS, key=lambda name: abs(LABELS[name] - peak))


def _known(eval_set):
    """(pitch that is heard, label's number, speaker's number) of every utterance, by key."""
    found = {}
    for batch in eval_set.batches:
        labels = eval_set.labels.of_utterances(batch.keys[: batch.used])
        for key, wave, n, (label, speaker) in zip(batch.keys.tolist(), *batch.args, labels.tolist(), strict=False):
            found[key] = (_pitch(wave[:n]), label, speaker)
    return found


def test_each_utterance_has_its_own_label_however_it_is_batched(tmp_path):
    made = LabelledSet(corpus(tmp_path)).load("tones", count=100, seed=0, world=World())
    known = _known(made)
    assert len(known) == 24
    assert {(heard, number) for heard, number, _ in known.values()} == {("high", 0), ("low", 1), ("middle", 2)}
    assert sorted(speaker for _, _, speaker in known.values()) == sorted([0, 1, 2, 3] * 6)
    assert "3 labels, each of 4 speakers is left out in turn" in made.describe()


def test_processes_share_the_same_choice_and_the_same_numbers(tmp_path):
    spec = LabelledSet(corpus(tmp_path))
    whole = _known(spec.load("tones", count=15, seed=0, world=World()))
    parts = [_known(spec.load("tones", count=15, seed=0, world=World(r, 2))) for r in range(2)]
    assert len(whole) == 15
    assert parts[0] | parts[1] == whole
    assert not parts[0].keys() & parts[1].keys()


def test_frames_have_the_label_that_is_spoken_where_they_lie(tmp_path):
    spec = LabelledSet(corpus(tmp_path), label=None, alignment="alignment")
    made = spec.load("tones", count=100, seed=0, world=World())
    labels, batch = made.labels, made.batches[0]
    wave, places = batch.args[0][0, : batch.args[1][0]], torch.linspace(0, 1, 201, dtype=torch.float64)[:-1] + 0.0025
    found = labels.of_frames(batch.keys[:1].repeat(200), places)
    loud = torch.tensor([float(part.abs().max()) for part in wave.tensor_split(200)]) > 0.09
    assert (found[:, 0] == 1)[loud].float().mean() > 0.95  # "noise" is 0, "tone" 1
    assert set(found[:40, 0].tolist()) <= {-1, 1}
    assert set(found[-30:, 0].tolist()) == {0}
    assert len(set(found[:, 1].tolist())) == 1
    assert labels.of_utterances(batch.keys[:1]).shape == (1, 0)


def test_spans_end_where_they_end_and_utterances_do_not_meet():
    labels = Labels(
        {5: Labelled(0, 0, 2.0, [(0.5, 1.0, 3), (1.5, 9.0, 4)]), 9: Labelled(1, 1, 1.0)},
        whole=True,
        frames=True,
        words="",
    )
    places = torch.tensor([0.0, 0.25, 0.49, 0.5, 0.75, 1.0, 0.0, 1.0], dtype=torch.float64)
    found = labels.of_frames(torch.tensor([5] * 6 + [9] * 2), places)
    assert found.tolist() == [[-1, 0], [3, 0], [3, 0], [-1, 0], [4, 0], [4, 0], [-1, 1], [-1, 1]]
    with pytest.raises(KeyError):
        labels.of_utterances(torch.tensor([6]))


def test_an_empty_label_is_none_and_an_empty_alignment_too(tmp_path):
    path = _edit(corpus(tmp_path), lambda i, row: row.update(label="", alignment="") if i % 6 == 0 else None)
    made = LabelledSet(path, alignment="alignment").load("tones", count=100, seed=0, world=World())
    assert sum(label == -1 for _, label, _ in _known(made).values()) == 4
    places = torch.full((24,), 0.95, dtype=torch.float64)
    keys = torch.cat([batch.keys for batch in made.batches])
    assert (made.labels.of_frames(keys, places)[:, 0] == -1).sum() == 4


@pytest.mark.parametrize(
    ("change", "speaker", "words"),
    [
        (lambda i, row: row.update(speaker="one"), "speaker", "one speaker alone: utterances are left out in turn"),
        (lambda i, row: row.update(speaker=""), "speaker", "no speakers: utterances are left out in turn"),
        (lambda i, row: row.pop("speaker"), None, "no speakers: utterances are left out in turn"),
    ],
)
def test_without_speakers_it_says_how_the_split_is_made(tmp_path, change, speaker, words):
    spec = LabelledSet(_edit(corpus(tmp_path), change), speaker=speaker)
    assert spec.words == f"3 labels, {words}"
    assert {speaker for *_, speaker in _known(spec.load("tones", count=100, seed=0, world=World())).values()} == {-1}


@pytest.mark.parametrize(
    ("change", "arguments", "error", "message"),
    [
        (lambda i, row: None, {"label": "phone"}, ValueError, "no column 'phone'; there are path, label, speaker"),
        (lambda i, row: row.pop("speaker"), {}, ValueError, "has no column 'speaker'; there are path, label"),
        (
            lambda i, row: row.update(path="x.wav"),
            {},
            FileNotFoundError,
            r"no such file of audio: 24 \(.*x\.wav",
        ),
        (lambda i, row: row.update(label="a"), {}, ValueError, "column 'label': a probe needs two different labels"),
        (lambda i, row: row.update(speaker="a" * (i > 2)), {}, ValueError, "3 of 24 clips have no speaker"),
        (lambda i, row: None, {"label": None}, ValueError, "a column of labels or one of alignments"),
        (
            lambda i, row: row.update(alignment=f"{i}.tsv"),
            {"alignment": "alignment"},
            FileNotFoundError,
            r"names 24 files that aren't there: .*0\.tsv",
        ),
        (
            lambda i, row: None,
            {"alignment": "alignment", "tier": "syllable"},
            ValueError,
            r"no alignment has a tier 'syllable', there are \['phone', 'word'\]",
        ),
        (
            lambda i, row: None,
            {"alignment": "alignment", "tier": "word"},
            ValueError,
            r"tier 'word': a probe needs two different labels, found \['x'\]",
        ),
    ],
)
def test_what_is_wrong_with_a_manifest_is_told_when_it_is_named(tmp_path, change, arguments, error, message):
    path = _edit(corpus(tmp_path), change)
    with pytest.raises(error, match=message):
        LabelledSet(path, **arguments)


def test_a_manifest_that_is_not_there_or_empty_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*manifest"):
        LabelledSet(tmp_path / "manifest.csv")
    (tmp_path / "manifest.csv").write_text("path,label,speaker\n")
    with pytest.raises(ValueError, match="no rows"):
        LabelledSet(tmp_path / "manifest.csv")


def test_it_is_imported_from_the_top_and_goes_to_other_processes(tmp_path):
    spec = pickle.loads(pickle.dumps(rankwatch.LabelledSet(corpus(tmp_path))))
    assert len(_known(spec.load("tones", count=100, seed=0, world=World()))) == 24


def test_a_config_file_names_it_by_its_class(tmp_path):
    jsonargparse = pytest.importorskip("jsonargparse")
    parser = jsonargparse.ArgumentParser()
    parser.add_class_arguments(rankwatch.RankWatch, "callback")
    spec = {"class_path": "rankwatch.LabelledSet", "init_args": {"manifest": str(corpus(tmp_path))}}
    config = parser.parse_object({"callback": {"eval_sets": {"inside": "first_batches", "labelled": spec}}})
    instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes
    sets = instantiate(config).callback.settings.sets
    assert isinstance(sets["labelled"], LabelledSet)


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_a_manifest_or_alignment_in_another_encoding_is_read_or_named(tmp_path, encoding):
    manifest = corpus(tmp_path)
    alignment = manifest.parent / read(manifest)[0]["alignment"]
    for file in (manifest, alignment):
        text = file.read_text(encoding="utf-8")
        file.write_bytes(text.replace("high", "hôch").replace("tone", "tône").encode(encoding))
        if encoding == "utf-16":
            LabelledSet(manifest, alignment="alignment")
        else:
            with pytest.raises(ValueError, match=rf"{file.name} is not in UTF-8: byte \d+ \(0xf4\)"):
                LabelledSet(manifest, alignment="alignment")
            file.write_text(text, encoding="utf-8")
