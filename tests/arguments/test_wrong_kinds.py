"""Every argument of what users call refuses what is of the wrong kind: by its name, with what it may be."""

import contextlib
import functools
import inspect as python_inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import Encoder

from rankwatch import AudioFolder, FirstBatches, LabelledSet, Loader, RankWatch, RowSampling, Watch, inspect
from rankwatch import register_family as register
from rankwatch.alarms.detectors import RankDecline
from rankwatch.arguments.settings import Settings
from rankwatch.huggingface import RankWatchCallback

NO_STRING = [None, 5, 2.5, True, b"bytes", ["a"], {"a": 1}, object(), print, torch.zeros(3), np.zeros(3)]
NO_TEXT = [*NO_STRING, ""]
NO_COUNT = [
    None,
    "500",
    "all",
    "",
    2.5,
    4.0,
    True,
    np.float64(4.0),
    [4],
    {4},
    (),
    object(),
    print,
    torch.tensor(4),
    0,
    -1,
]
NO_NUMBER = [*(one for one in NO_COUNT if not isinstance(one, float)), "1%", float("nan"), np.array([0.5, 0.5]), 1j]
NO_FUNCTION = [5, True, 2.5, b"f", ["f"], {"f": 1}, torch.zeros(3), "nowhere.f", "", ".a.b", "math.pi", lambda: None]
NO_WORDS = [None, 5, True, b"frame", "encoder", [3], [], (), {}, {"frame": 1}, [b"frame"], ["frame", None], [[]], print]


def without(values, *types):
    """Those of the values that are not of these types."""
    return [one for one in values if not isinstance(one, types)]


def forward(module, batch):
    """A forward of somebody's own."""


NO_FORWARD = [*NO_FUNCTION, lambda batch: None, "math.sqrt"]
NO_SET = [
    None,
    5,
    True,
    2.5,
    b"folder",
    "",
    [],
    ["first_batches"],
    object(),
    AudioFolder,
    Loader,
    print,
    torch.zeros(3),
]

SETTINGS = {
    "on_collapse": ([*NO_TEXT, "panic", ["warn"], {"warn"}], "'warn', 'stop' or 'raise'"),
    "on_alarm": ([*NO_FUNCTION, lambda a, b: None, "math.hypot.nothing"], "a function of an AlarmEvent.*import path"),
    "sensitivity": (
        [None, 5, True, 2.5, b"low", "", "medium", {"low": 1}, object(), RankDecline(), RankDecline, print],
        "'low', 'default', 'high'.* or a list of detectors",
    ),
    "every_n_steps": (NO_COUNT, "a whole number, at least 1"),
    "max_overhead": (
        [*without(NO_NUMBER, type(None)), 1.5, float("inf")],
        r"a share of the run's time in \(0, 1\], or N",
    ),
    "layers": ([*NO_WORDS, ""], "'auto' or a list of module paths or globs"),
    "watch": ([*NO_WORDS, ["word"], "frame", {"frame": True}], "a list with any of 'frame', 'utterance', 'codebook'"),
    "eval_sets": (
        [
            *NO_SET,
            *({"dev": one} for one in NO_SET),
            {3: "first_batches"},
            {None: "first_batches"},
            {"": "first_batches"},
        ],
        r"AudioFolder\(...\)|names are strings without '/'",
    ),
    "rows": (
        [None, 5, True, "auto", {"n_utterances": 8}, RowSampling, object(), [RowSampling()]],
        "must be a RowSampl",
    ),
    "name": ([*NO_TEXT, Path("run"), "a/b", " "], "a non-empty word without '/'"),
    "strict": ([None, 0, 1, "no", "", [], [True], print], "True or False"),
}
ROWS = {
    "n_utterances": ([*NO_COUNT, 1], "a whole number, at least 2"),
    "frames_per_utterance": (NO_COUNT, "a whole number, at least 1"),
    "brief_utterances": ([*(one for one in NO_COUNT if one is not None), 1], "a whole number, at least 2, or None"),
    "full_every": (NO_COUNT, "a whole number, at least 1"),
    "frame_mask": ([*NO_TEXT, "some"], "'unmasked', 'masked' or 'all'"),
    "lengths": (
        [None, 5, True, 2.5, "", b"none", ["lengths"], {"a": 1}, torch.zeros(3), lambda: None, lambda a, b: None],
        r"'auto', 'none', a dotted path into the batch, or a function f\(batch\)",
    ),
    "projection": (
        [*without(NO_COUNT, type(None)), 1, "half", ["auto"], np.zeros(3)],
        "'auto', None or a number of col",
    ),
    "seed": ([*(one for one in NO_COUNT if one is not NO_COUNT[-2]), 2**63, "a", 1.5], "a whole number, 0 or more"),
    "layouts": (
        [None, 5, "(B, T, C)", ["(B, T, C)"], {"a": "(T, C)"}, {3: "(B, T, C)"}, {"a": None}],
        "a mapping from globs over layers to one of",
    ),
}
AUDIO = {
    "sample_rate": ([*NO_COUNT, "16k", 16_000.0], "a whole number of samples per second"),
    "max_seconds": ([*NO_NUMBER, "15", 0.0, float("inf")], "a number of seconds, more than 0"),
    "forward": (NO_FORWARD, r"a function f\(module, batch\)"),
}
NO_PATH = [None, 5, True, 2.5, b"folder", "", ["folder"], {}, print, torch.zeros(3)]
NO_COLUMN = without(NO_TEXT, type(None))
LABELLED = {
    **AUDIO,
    "manifest": (NO_PATH, "a manifest"),
    "alignments": (without(NO_PATH, type(None)), "a folder or a file of alignments, or None"),
    "encoding": (NO_TEXT, "the name of an encoding"),
    "label": (NO_COLUMN, "the name of a column, or None"),
    "speaker": (NO_COLUMN, "the name of a column, or None"),
    "alignment": (NO_COLUMN, "the name of a column, or None"),
    "tier": (NO_TEXT, "the name of a tier"),
    "path": (NO_TEXT, "the name of a column"),
}
LOADER = {
    "loader": (
        [None, 5, True, 2.5, b"x", "", "nowhere.f", {"a": 1}, list, print, object()],
        "something that can be ite",
    ),
    "forward": ([None, *NO_FORWARD], r"f\(module, batch\)"),
}
LOOP = {
    "model": ([None, 5, "model", Encoder, [Encoder()], print], "a torch.nn.Module"),
    "folder": (NO_PATH, "a folder"),
    "optimizer": ([5, True, "adam", [], torch.optim.Adam, print], "one optimiser, which has param_groups, or None"),
    "writer": ([5, True, "runs", Path("runs"), print, object()], "a SummaryWriter, .* or None"),
    "precision": (NO_TEXT, "a word"),
    "autocast": (
        [None, *NO_FUNCTION[:-1], torch.autocast("cpu"), lambda a: None],
        "a function without arguments that ret",
    ),
}
INSPECT = {
    "model": ([5, "model", Encoder, print], "a torch.nn.Module"),
    "forward": ([one for one in NO_FORWARD if not isinstance(one, str)], r"a function f\(model, batch\)"),
    "sample_rate": (NO_COUNT, "a whole number of samples per second"),
}
FAMILY = {
    "name": (NO_TEXT, "a word"),
    "belongs": ([None, *NO_FUNCTION], "a function of a module"),
    "run": ([None, *NO_FUNCTION], r"f\(model, waveforms, lengths\)"),
    "replay": ([None, *NO_FUNCTION], r"f\(model, arguments, batch\)"),
    "part": ([None, *NO_FUNCTION], "a function of the model"),
    "package": (NO_STRING, "a string"),
    "front_end_layout": ([5, "BCT", ["(B, C, T)"]], r"'\(B, C, T\)'"),
}


def family(**arguments):
    """One that is registered with all that it needs besides."""
    known = {"belongs": lambda module: False, "run": lambda model, waveforms, lengths: None, "package": "acme"}
    return register(**{"name": "Acme's", **known, **arguments})


def watched(**arguments):
    """A loop of one's own, with all that it needs besides."""
    with contextlib.closing(Watch(**{"model": Encoder(), **arguments})) as watch:
        return watch


CALLS = {
    "RankWatch": (RankWatch, {}, SETTINGS),
    "RankWatchCallback": (RankWatchCallback, {}, SETTINGS),
    "Watch with settings": (watched, {}, SETTINGS),
    "inspect with settings": (inspect, {"model": Encoder()}, SETTINGS),
    "RowSampling": (RowSampling, {}, ROWS),
    "FirstBatches": (FirstBatches, {}, {"forward": AUDIO["forward"]}),
    "AudioFolder": (
        AudioFolder,
        {"path": "."},
        {"path": (NO_PATH, "a folder"), "encoding": (NO_TEXT, "the name of an encoding"), **AUDIO},
    ),
    "LabelledSet": (LabelledSet, {"manifest": "a.csv"}, LABELLED),
    "Loader": (Loader, {"loader": [1], "forward": forward}, LOADER),
    "Watch": (watched, {}, LOOP),
    "inspect": (inspect, {"model": Encoder()}, INSPECT),
    "register_family": (family, {}, FAMILY),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_is_of_the_wrong_kind_is_refused_by_its_name_with_what_it_may_be(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, besides, table = CALLS[call]
    let_through = []
    for name, (values, wanted) in table.items():
        for value in values:
            try:
                function(**{**besides, name: value})
            except (ValueError, TypeError) as error:
                said = str(error)
            else:
                said = "nothing"
            if not re.search(rf"\b{name}\b", said) or not re.search(wanted, said) or len(said) > 700 or "\n" in said:
                let_through.append(f"{name}={value!r}: {said}")
    assert not let_through, "\n".join(let_through)
    assert not list(tmp_path.iterdir())  # nothing has begun


def test_the_tables_name_every_argument():
    for function, table in (
        (Settings, SETTINGS),
        (RowSampling, ROWS),
        (FirstBatches, CALLS["FirstBatches"][2]),
        (AudioFolder, CALLS["AudioFolder"][2]),
        (LabelledSet, LABELLED),
        (Loader, LOADER),
        (Watch, {**LOOP, "arguments": ()}),
        (inspect, {**INSPECT, "batch": "anything", "arguments": ()}),
        (register, FAMILY),
    ):
        assert set(python_inspect.signature(function).parameters) == set(table), function


def test_numbers_of_numpy_are_as_good_as_pythons_and_become_them():
    rows = RowSampling(np.int64(8), np.int32(2), projection=np.int64(4), seed=np.uint8(3))
    assert rows == RowSampling(8, 2, projection=4, seed=3)
    settings = Settings(every_n_steps=np.int64(7), max_overhead=np.float32(0.5), strict=np.bool_(True), rows=rows)
    folder = AudioFolder("a", sample_rate=np.int64(8_000), max_seconds=np.float32(2.5))
    numbers = [settings.every_n_steps, settings.max_overhead, settings.strict, *vars(rows).values()]
    assert json.dumps([*numbers, folder.sample_rate, folder.max_seconds])  # numpy's can't be written
    assert Settings(max_overhead=1).max_overhead == 1.0


def test_a_detectors_own_thresholds_are_checked_before_training():
    for wrong, said in (
        ({"below": "0.5"}, "RankDecline.below='0.5'.* a number, by default"),
        ({"below": None}, "below=None"),
        ({"patience": 2.5}, "is no detector"),
        ({"patience": 0}, "patience=0.* a whole number of readings, at least 1"),
    ):
        with pytest.raises(ValueError, match=f"sensitivity: .*{said}"):
            Settings(sensitivity=[RankDecline(**wrong)])


def test_functions_of_any_make_are_taken():
    """What the number of arguments says is believed only where it is known."""

    class Post:
        def __call__(self, event):
            pass

        def method(self, event, urgent=False):
            pass

    @functools.wraps(forward)  # which takes two
    def wrapped(*args):
        pass

    for function in (Post(), Post().method, print, "builtins.print", lambda *a, **k: None, wrapped):
        assert callable(Settings(on_alarm=function).alarm_call)
    assert callable(RowSampling(lengths=Post().method).lengths)
