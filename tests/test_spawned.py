"""Training in processes of its own: the readings are theirs, and the callback here says where to find them."""

import warnings

import pytest
from toys import Module, loader, trainer

from rankwatch import RankWatch, RowSampling
from rankwatch.reporting import read_jsonl


@pytest.mark.slow
def test_the_parent_says_where_readings_are_and_says_it_once(tmp_path):
    callback = RankWatch(every_n_steps=4, rows=RowSampling(n_utterances=16), strict=True)
    run = trainer(tmp_path, callback, max_steps=8, strategy="ddp_spawn", devices=1, enable_checkpointing=False)
    run.fit(Module(layer_drop=0.0), loader())
    with pytest.warns(RuntimeWarning, match="took their readings and alarms with them") as caught:
        assert callback.readings == []
    file = str(caught[0].message).partition("all are in ")[2].partition(", which")[0]
    assert {reading.step for reading in read_jsonl(file)} == {2, 4, 8}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert callback.alarms == callback.readings == []


def test_where_nothing_ran_elsewhere_nothing_is_said():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert RankWatch().readings == []
