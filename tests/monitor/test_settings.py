"""Bad arguments are told by name, at once."""

import pytest

from rankwatch import RankWatch
from rankwatch.monitor.settings import Settings


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n_utterances": 1}, "n_utterances=1.*at least 2"),
        ({"every_n_steps": 0}, "every_n_steps=0"),
        ({"frames_per_utterance": 0}, "frames_per_utterance"),
        ({"levels": ["word"]}, "levels.*frame and utterance"),
        ({"levels": []}, "levels"),
        ({"layers": "encoder"}, "layers='encoder'.*list"),
        ({"layers": []}, "layers"),
        ({"projection": 1}, "projection=1"),
        ({"projection": "half"}, "projection='half'"),
        ({"on_collapse": "panic"}, "on_collapse='panic'.*'warn', 'stop' or 'raise'"),
        ({"on_alarm": 7}, "on_alarm=7.*a function of an AlarmEvent"),
        ({"on_alarm": "nowhere.post"}, "'nowhere.post' names no function that can be imported"),
        ({"name": ""}, "name"),
        ({"name": "a/b"}, "name='a/b'"),
        ({"eval_sets": "folder"}, "eval_sets='folder'"),
        ({"eval_sets": {"train": "auto"}}, "'train' is taken"),
        ({"eval_sets": {}}, "nothing to read"),
        ({"on_collapse": "stop", "levels": ["utterance"]}, "needs an evaluation set and the frame level"),
        (
            {"on_collapse": "raise", "levels": ["utterance"]},
            "'raise'.*needs an evaluation set and the frame level",
        ),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        RankWatch(**arguments)


def test_arguments_are_keyword_only_and_unknown_ones_refused():
    with pytest.raises(TypeError):
        RankWatch("auto")
    with pytest.raises(TypeError, match="every_n_step"):
        RankWatch(every_n_step=5)


def test_the_first_probe_set_is_the_headline():
    settings = Settings(eval_sets={"inside": "auto", "outside": "folder"}, watch_train=True)
    assert settings.sources == ("inside", "outside", "train")
    assert settings.first_batches_set == "inside"
    assert Settings().sources == ("first_batches",)
