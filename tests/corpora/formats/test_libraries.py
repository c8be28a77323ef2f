"""Manifests of lhotse and data sets of Hugging Face's, written by these libraries."""

import pickle

import pytest
from tiny_audio import write_audio

from rankwatch.corpora import Span, read_corpus


@pytest.fixture
def audio(tmp_path):
    """Two files of one and two seconds."""
    return [write_audio(tmp_path / f"{name}.wav", float(i), seed=i) for i, name in enumerate(("a", "b"), 1)]


@pytest.fixture
def lhotse(audio):
    """The library, recordings of both files, and two supervisions of the second, with words."""
    library = pytest.importorskip("lhotse")
    item = pytest.importorskip("lhotse.supervision").AlignmentItem
    recordings = library.RecordingSet.from_recordings(library.Recording.from_file(path) for path in audio)
    make = library.SupervisionSegment
    words = {"word": [item("so", 0.5, 0.25), item("it", 0.75, 0.25)]}
    some = [
        make("u1", "b", 0.5, 0.5, text="so it", speaker="s1", language="en", alignment=words, custom={"emo": "h"}),
        make("u2", "b", 1.0, 1.0, text="is", speaker="s2", gender="f"),
        make("u3", "c", 0.0, 1.0, text="gone"),
    ]
    return library, recordings, library.SupervisionSet.from_segments(some)


def test_lhotses_supervisions_with_the_recordings_beside_them(lhotse, tmp_path):
    _, recordings, supervisions = lhotse
    recordings.to_file(tmp_path / "x_recordings_dev.jsonl.gz")
    assert [one.id for one in read_corpus(tmp_path / "x_recordings_dev.jsonl.gz").utterances] == ["a", "b"]
    supervisions.to_file(tmp_path / "x_supervisions_dev.jsonl.gz")
    for path in (tmp_path / "x_supervisions_dev.jsonl.gz", tmp_path):
        corpus = read_corpus(path)
        first, second = corpus.utterances
        assert (first.id, first.speaker, first.text, first.start, first.end) == ("u1", "s1", "so it", 0.5, 1.0)
        assert first.labels == {"language": "en", "emo": "h"}
        assert first.spans == {"word": (Span(0.0, 0.25, "so"), Span(0.25, 0.5, "it"))}
        assert second.labels == {"gender": "f"}
        assert len(corpus.read(first, 8_000)) == 4_000
        assert list(corpus.left_out) == ["u3"]


def test_lhotses_cuts(lhotse, tmp_path):
    library, recordings, supervisions = lhotse
    here = supervisions.filter(lambda one: one.recording_id == "b")
    cuts = library.CutSet.from_manifests(recordings, here).trim_to_supervisions().to_eager()
    mixed = cuts[0].mix(cuts[1])
    library.CutSet.from_cuts([*cuts, mixed.with_id("mixed")]).to_file(tmp_path / "cuts.jsonl")
    corpus = read_corpus(tmp_path / "cuts.jsonl")
    first, second = corpus.utterances
    assert (first.speaker, first.text, first.start, first.end) == ("s1", "so it", 0.5, 1.0)
    assert first.spans == {"word": (Span(0.0, 0.25, "so"), Span(0.25, 0.5, "it"))}
    assert (second.speaker, second.seconds) == ("s2", 1.0)
    assert list(corpus.left_out) == ["mixed"]


def dataset(datasets, audio):
    """Two rows whose labels are numbers with names."""
    acts = datasets.Sequence(datasets.ClassLabel(names=["ask", "greet"]))
    stored = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}  # Audio() needs torchcodec to encode
    features = {"audio": stored, "emotion": datasets.ClassLabel(names=["calm", "angry"]), "acts": acts}
    features |= {"speaker_id": datasets.Value("int32"), "transcription": datasets.Value("string")}
    files = [{"bytes": path.read_bytes(), "path": path.name} for path in audio]
    rows = {"audio": files, "emotion": [1, 0], "acts": [[0, 1], []], "speaker_id": [7, 8]}
    rows["transcription"] = ["so", None]
    made = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
    return made.cast_column("audio", datasets.Audio())


@pytest.mark.parametrize("form", ["saved", "splits", "parquet", "folder of parquet"])
def test_data_sets_of_hugging_faces(audio, tmp_path, form):
    datasets = pytest.importorskip("datasets")
    data, path = dataset(datasets, audio), tmp_path / "set"
    if form == "saved":
        data.save_to_disk(path)
    elif form == "splits":
        datasets.DatasetDict({"train": data}).save_to_disk(path)
    else:
        path.mkdir()
        data.to_parquet(path / "train.parquet", batch_size=1)
        path = path / "train.parquet" if form == "parquet" else path
    corpus = pickle.loads(pickle.dumps(read_corpus(path)))
    first, second = corpus.utterances
    split = {"split": "train"} if form in ("splits", "folder of parquet") else {}
    assert (first.speaker, first.text, first.seconds) == ("7", "so", 1.0)
    assert first.labels == {"emotion": "angry", "acts": frozenset({"ask", "greet"}), **split}
    assert second.labels == {"emotion": "calm", "acts": frozenset(), **split}
    whole = read_corpus(audio[1])
    assert corpus.read(second, 8_000).equal(whole.read(whole.utterances[0], 8_000))


def test_of_several_columns_of_audio_the_named_one_counts_and_rows_without_audio_are_named(audio, tmp_path):
    datasets = pytest.importorskip("datasets")
    stored = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = {"audio": stored, "clean": stored, "speaker": datasets.ClassLabel(names=["ann", "bob"])}
    features = datasets.Features({**features, "age": datasets.Value("float32")})
    first, second = ({"path": path.name, "bytes": path.read_bytes()} for path in audio)
    rows = {"audio": [first, None, {"path": "gone.wav", "bytes": b""}], "clean": [second] * 3}
    rows |= {"speaker": [0, 1, 1], "age": [3.0, float("nan"), None]}
    made = datasets.Dataset.from_dict(rows, features=features)
    made = made.cast_column("audio", datasets.Audio()).cast_column("clean", datasets.Audio())
    made.to_parquet(tmp_path / "set.parquet")
    path = tmp_path / "set.parquet"
    corpus = read_corpus(path)
    assert [(one.speaker, one.seconds, one.labels) for one in corpus.utterances] == [("ann", 1.0, {"age": "3.0"})]
    assert [*corpus.left_out.values()] == ["a row without audio, or whose file isn't there"] * 2
    clean = read_corpus(path, columns={"audio": "clean"}).utterances
    assert [(one.speaker, one.seconds) for one in clean] == [("ann", 2.0), ("bob", 2.0), ("bob", 2.0)]
    with pytest.raises(ValueError, match="no column 'noisy' of audio; there are audio, clean"):
        read_corpus(path, columns={"audio": "noisy"})
    made.select([0]).save_to_disk(tmp_path / "set")
    assert read_corpus(tmp_path / "set").utterances[0].seconds == 1.0


def test_several_manifests_of_lhotses_are_not_chosen_among_and_broken_ones_are_named(lhotse, tmp_path):
    _, recordings, _ = lhotse
    for name in ("dev", "train"):
        recordings.to_file(tmp_path / f"recordings_{name}.jsonl.gz")
    with pytest.raises(ValueError, match=r"several manifests of recordings \(recordings_dev.*: name one of them"):
        read_corpus(tmp_path)
    file = tmp_path / "recordings.jsonl"
    recordings.to_file(file)
    file.write_text(file.read_text() + "{broken\n")
    with pytest.raises(ValueError, match=r"recordings\.jsonl could not be read by lhotse"):
        read_corpus(file)


def test_spans_outside_of_a_cut_are_none_of_it(lhotse, tmp_path):
    library, recordings, supervisions = lhotse
    here = supervisions.filter(lambda one: one.id == "u1")
    cuts = library.CutSet.from_manifests(recordings, here).filter(lambda one: one.recording_id == here[0].recording_id)
    cuts.to_eager().cut_into_windows(0.7).to_file(tmp_path / "cuts.jsonl")
    found = {round(one.start or 0.0, 1): one.spans.get("word", ()) for one in read_corpus(tmp_path).utterances}
    assert found[0.0] == (Span(0.5, 0.7, "so"),)
    assert [(span.label, round(span.start, 2), round(span.end, 2)) for span in found[0.7]] == [("it", 0.05, 0.3)]
    assert all(span.start >= 0.0 for spans in found.values() for span in spans)
