"""Tables put together utterance by utterance are those of all rows at once, and hold one layer in memory at a time."""

import gc
import weakref

import numpy as np
import torch
from made_up_layers import MadeUpCorpus

from rankwatch.analysis.measures.profile import measure_models
from rankwatch.analysis.rows.row_tables import FRAME, UTTERANCE, RowTable
from rankwatch.analysis.rows.table_writer import TableWriter
from rankwatch.analysis.rows.utterance_rows import SpanRows, UtteranceRows

LAYERS = {"a": 3, "b": 5}


def utterances(count):
    """Of one to three frames each; every third one has no phones."""
    g = torch.Generator().manual_seed(0)
    for k in range(count):
        frames = {name: torch.randn(1 + k % 3, width, generator=g) for name, width in LAYERS.items()}
        spans = {"phone": SpanRows({n: x[:1] for n, x in frames.items()}, [f"p{k}"], [k])} if k % 3 else {}
        mean = {name: x.mean(dim=0) for name, x in frames.items()}
        yield UtteranceRows(f"u{k}", 1.0, frames, mean, spans, torch.full((1 + k % 3, 80), float(k)), {"": 0.1})


def test_tables_are_the_rows_of_all_utterances_in_order():
    parts = list(utterances(40))  # more than wait in memory
    writer = TableWriter(list(LAYERS))
    for one in parts:
        writer.add(one)
    tables = writer.tables(["phone", "word"])
    assert list(tables) == [FRAME, UTTERANCE, "phone"]
    having = [k for k in range(40) if k % 3]
    for layer, width in LAYERS.items():
        assert writer.width(layer) == width
        assert torch.equal(tables[FRAME].rows[layer], torch.cat([p.frames[layer] for p in parts]))
        assert torch.equal(tables[UTTERANCE].rows[layer], torch.stack([p.mean[layer] for p in parts]))
        phones = torch.cat([p.spans["phone"].rows[layer] for p in parts if p.spans])
        assert torch.equal(tables["phone"].rows[layer], phones)
    assert tables[FRAME].utterances.tolist() == [k for k in range(40) for _ in range(1 + k % 3)]
    assert tables[FRAME].keys[:3] == (("u0", 0), ("u1", 0), ("u1", 1))
    assert tables["phone"].labels.tolist() == [f"p{k}" for k in having]
    assert tables["phone"].keys == tuple((f"u{k}", k) for k in having)
    assert torch.equal(writer.acoustics[:, 0], torch.from_numpy(tables[FRAME].utterances).float())
    some = tables[FRAME].at(np.array([5, 0]))
    assert torch.equal(some.rows["b"], tables[FRAME].rows["b"][[5, 0]])
    assert writer.tables_by_label(None) is None


class Counted(dict):
    """Rows of which a new copy is made whenever they are asked for; the most that are in memory are counted."""

    alive, most = 0, 0

    def __getitem__(self, name):
        rows = super().__getitem__(name).clone()
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)
        weakref.finalize(rows, self.gone)
        return rows

    @staticmethod
    def gone():
        Counted.alive -= 1


def test_measuring_holds_one_or_two_layers_whatever_their_number():
    made = MadeUpCorpus(utterances=24)
    layers = [made.layer(width=8, phone=1.0, speaker=1.0) for _ in range(6)]
    models = [made.model(layers[:4], "one"), made.model(layers[4:], "other")]
    expected = measure_models(models)
    for rows in models:
        for kind, table in rows.tables.items():
            counted = RowTable(Counted(table.rows), table.utterances, table.labels, table.keys)
            rows.tables[kind] = counted
    gc.collect()
    found = measure_models(models)
    assert 1 <= Counted.most <= 2
    plain = [[str(one.to_plain()) for one in profile.measurements] for profile in (found, expected)]
    assert plain[0] == plain[1]
