"""The two examples without Lightning run on a folder of a few files and leave readings."""

import numpy as np
import pytest
import soundfile
from huggingface_trainer import pretrain as under_hugging_face
from plain_loop import pretrain as in_a_loop


@pytest.fixture
def audio(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(12):
        soundfile.write(tmp_path / f"{i}.wav", rng.normal(0, 0.1, 8000 + 500 * i), 16000)
    return tmp_path


@pytest.mark.parametrize("run", [in_a_loop, under_hugging_face])
def test_it_trains_and_is_watched(run, audio):
    watch = run(audio, 6, audio / "runs", batch_size=4)
    assert {r.step for r in watch.readings} == {4, 6}  # after the first epoch, and at the end
    assert {r.n for r in watch.readings if r.level == "utterance"} == {12}
    assert len({r.layer for r in watch.readings if r.level == "frame"}) == 5
    assert not watch.alarms
    assert list((audio / "runs").rglob("events.out.tfevents.*"))
    assert list((audio / "runs").rglob("RankWatch.jsonl"))
