"""The arguments: one set of defaults for all faces, bad ones refused by name, shorthand resolved."""

import dataclasses
import inspect as python_inspect
import typing

import pytest

import rankwatch
from rankwatch import AudioFolder, FirstBatches, LabelledSet, Loader, RankWatch, RowSampling, Watch, inspect
from rankwatch.alarms.detectors import RankDecline, default_detectors
from rankwatch.arguments.settings import WATCH, RankWatchArguments, Settings


def run(module, batch):
    """A forward of somebody's own."""
    return module(*batch)


def test_all_faces_have_the_arguments_and_defaults_of_the_settings():
    fields = [field for field in dataclasses.fields(Settings) if field.init]
    signature = python_inspect.signature(RankWatch)
    assert {field.name: field.default for field in fields} == {
        name: parameter.default for name, parameter in signature.parameters.items()
    }
    assert list(signature.parameters) == [field.name for field in fields]
    types = typing.get_type_hints(Settings)
    assert list(RankWatchArguments.__annotations__) == [field.name for field in fields]
    given = typing.get_type_hints(RankWatchArguments)
    assert {name: given[name] for name in given if name != "on_alarm"} == {
        field.name: types[field.name] for field in fields if field.name != "on_alarm"
    }
    for face in (Watch.__init__, inspect):
        assert face.__annotations__["arguments"] == "Unpack[RankWatchArguments]"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"every_n_steps": 0}, "every_n_steps=0"),
        ({"watch": ["word"]}, "watch=.*'frame', 'utterance', 'codebook', 'drift', 'training_pass'"),
        ({"watch": "frame"}, "watch='frame'.*a list"),
        ({"watch": []}, "watch="),
        ({"watch": ["codebook"]}, "watch=.*at least one of the levels 'frame' and 'utterance'"),
        ({"layers": "encoder"}, "layers='encoder'.*list"),
        ({"layers": []}, "layers"),
        ({"rows": {"n_utterances": 8}}, r"rows=.*must be a RowSampling, for example RowSampling\("),
        ({"on_collapse": "panic"}, "on_collapse='panic'.*'warn', 'stop' or 'raise'"),
        ({"on_alarm": 7}, "on_alarm=7.*a function of an AlarmEvent"),
        ({"on_alarm": "nowhere.post"}, "'nowhere.post' names no function that can be imported"),
        ({"sensitivity": "medium"}, "sensitivity='medium'.*'low', 'default', 'high', a file"),
        ({"sensitivity": [RankDecline]}, "is no detector, which has kind, patience and check"),
        ({"name": ""}, "name"),
        ({"name": "a/b"}, "name='a/b'"),
        ({"eval_sets": 7}, r"eval_sets=7: .* an evaluation set, that is 'first_batches', a folder, FirstBatches\("),
        (
            {"eval_sets": {"dev": [1]}},
            r"eval_sets\['dev'\] is a list: wrap a dataloader as Loader\(loader, forward=f\)",
        ),
        ({"eval_sets": {"train": "first_batches"}}, "'train' stands for the training pass"),
        ({"eval_sets": {"a@b": "first_batches"}}, "'a@b' can't be a set's name"),
        ({"eval_sets": {"a": "first_batches", "b": FirstBatches()}}, "one set only"),
        ({"eval_sets": "auto"}, "eval_sets='auto': that is 'first_batches' now"),
        ({"eval_sets": {"mine": "auto"}}, r"eval_sets\['mine'\]='auto': that is 'first_batches' now"),
        ({"eval_sets": {}}, "nothing to read"),
        ({"on_collapse": "stop", "watch": ["utterance"]}, "needs an evaluation set, and 'frame' in watch"),
        ({"on_collapse": "raise", "eval_sets": {}, "watch": WATCH}, "'raise' needs an evaluation set"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        RankWatch(**arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n_utterances": 1}, "n_utterances=1.*at least 2"),
        ({"frames_per_utterance": 0}, "frames_per_utterance=0.*at least 1"),
        ({"frame_mask": "some"}, "frame_mask='some'.*'unmasked', 'masked' or 'all'"),
        ({"lengths": 7}, "lengths=7.*a dotted path into the batch"),
        ({"projection": 1}, "projection=1"),
        ({"projection": "half"}, "projection='half'"),
    ],
)
def test_bad_options_of_the_rows_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        RowSampling(**arguments)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: AudioFolder("a", sample_rate=0), r"AudioFolder\(sample_rate=0\)"),
        (lambda: AudioFolder("a", max_seconds=0), r"AudioFolder\(max_seconds=0\)"),
        (lambda: AudioFolder("a", forward=7), r"AudioFolder\(forward=7\): forward must be a function"),
        (lambda: FirstBatches(forward="nowhere.f"), r"FirstBatches\(forward='nowhere.f'\).*can be imported"),
        (lambda: Loader([1], forward=None), r"Loader\(forward=None\).*f\(module, batch\)"),
        (lambda: Loader(7, forward=run), r"Loader\(loader=7\)"),
    ],
)
def test_bad_arguments_of_a_set_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_arguments_are_keyword_only_and_unknown_ones_refused():
    with pytest.raises(TypeError):
        RankWatch("auto")
    with pytest.raises(TypeError, match="every_n_step"):
        RankWatch(every_n_step=5)
    with pytest.raises(TypeError, match=r"inspect\(\) has no argument 'every_n_step'. Did you mean every_n_steps\?"):
        inspect(None, every_n_step=5)


# Every argument of before, with what it has become.
RENAMED = {
    "levels": (["frame"], "watch=('frame', 'codebook', 'drift')"),
    "watch_train": (True, "watch=('frame', 'utterance', 'codebook', 'drift', 'training_pass')"),
    "codebooks": (False, "watch=('frame', 'utterance', 'drift')"),
    "probe_sets": ({"mine": "auto", "dev": "folder"}, "eval_sets={'mine': 'first_batches', 'dev': 'folder'}"),
    "probe_forward": (run, "eval_sets=FirstBatches(forward=run)"),
    "n_utterances": (32, "rows=RowSampling(n_utterances=32)"),
    "frames_per_utterance": (8, "rows=RowSampling(frames_per_utterance=8)"),
    "frames": ("all", "rows=RowSampling(frame_mask='all')"),
    "lengths": ("net_input.lengths", "rows=RowSampling(lengths='net_input.lengths')"),
    "projection": (None, "rows=RowSampling(projection=None)"),
    "seed": (7, "rows=RowSampling(seed=7)"),
    "detectors": ([RankDecline()], "sensitivity=[...]"),
    "sample_rate": (8_000, "eval_sets=AudioFolder(..., sample_rate=8000)"),
    "max_seconds": (5.0, "eval_sets=AudioFolder(..., max_seconds=5.0)"),
}


@pytest.mark.parametrize("name", RENAMED)
@pytest.mark.parametrize("face", [RankWatch, lambda **old: Watch(None, **old)])
def test_an_argument_of_before_says_what_to_write_instead(face, name):
    value, new = RENAMED[name]
    with pytest.raises(TypeError) as caught:
        face(**{name: value})
    assert name in str(caught.value)
    assert str(caught.value).endswith(f"pass {new}")


def test_inspect_says_it_as_well():
    with pytest.raises(TypeError, match=r"inspect\(\) has no argument n_utterances .* pass rows=RowSampling\(n_utter"):
        inspect(None, n_utterances=8)


def test_several_arguments_of_before_become_a_few_that_can_be_copied():
    old = {
        "levels": ("frame",),
        "watch_train": True,
        "eval_sets": {"inside": "auto", "outside": "folder"},
        "probe_forward": run,
        "sample_rate": 8_000,
        "n_utterances": 64,
        "seed": 1,
    }
    with pytest.raises(
        TypeError, match="levels, watch_train, probe_forward, sample_rate, n_utterances and seed"
    ) as caught:
        RankWatch(**old)
    new = str(caught.value).partition("pass ")[2]
    settings = eval(f"Settings({new})", {**vars(rankwatch), **globals()})
    assert settings.watch == ("frame", "codebook", "drift", "training_pass")
    assert settings.rows == RowSampling(n_utterances=64, seed=1)
    assert settings.sets["inside"].forward is run
    assert (settings.sets["outside"].sample_rate, settings.sets["outside"].forward) == (8_000, run)


def test_the_first_set_is_the_primary_and_shorthand_is_resolved(tmp_path):
    settings = Settings(eval_sets={"inside": "first_batches", "outside": "folder"}, watch=WATCH)
    assert settings.sources == ("inside", "outside", "train")
    assert settings.first_batches_set == "inside"
    assert isinstance(settings.sets["outside"], AudioFolder)
    assert Settings().sources == ("first_batches",)
    for one, name in (("folder", "audio_folder"), (tmp_path, "audio_folder"), (Loader([1], run), "loader")):
        assert Settings(eval_sets=one).sources == (name,)
    assert Settings(eval_sets=FirstBatches()).sources == ("first_batches",)
    assert LabelledSet.default_name == "labelled_set"


def test_sensitivity_is_a_preset_or_detectors():
    assert Settings(sensitivity="high").detectors == default_detectors("high")
    own = (RankDecline(below=0.5),)
    assert Settings(sensitivity=iter(own)).detectors == own
    assert Settings(sensitivity=list(own)).detectors == own
