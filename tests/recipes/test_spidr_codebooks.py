"""The codebooks of online clustering (DinoSR, SpidR): found by what they do, read beside what predicts their codes.

The figures are those that such a recipe logs itself (`target_ppl`, `pred_ppl`). A stand-in with the same interface; the
classes of spidr 0.2.0 themselves read the same, and stay bit-identical.
"""

import pytest
import torch
from online_clustering import InADict, OnlineClustering, batch

from rankwatch import RowSampling, Watch


def pretrain(folder, watched=True, steps=6, **made):
    """Weights, what the model itself logs by step, and the watch."""
    torch.manual_seed(0)
    compiled, kind = made.pop("compiled", ""), made.pop("kind", OnlineClustering)
    model = kind(**made)
    if compiled == "before":
        model.compile(backend="eager")
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2)
    rows = RowSampling(n_utterances=6)
    watch = Watch(model, folder, every_n_steps=2, rows=rows, strict=True, max_overhead=None) if watched else None
    if compiled == "after":
        model.compile(backend="eager")
    logged = {}
    for step in range(steps):
        made = batch(step)
        if watch is None:
            loss, infos = model(*made)
            loss.backward()
        else:
            with watch.batch(made):
                loss, infos = model(*made)
                loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        for theirs, ours in zip(model.teacher["layers"].parameters(), model.student.parameters(), strict=True):
            theirs.data.lerp_(ours.data, 0.01)
        logged[step + 1] = infos["target_ppl"].item(), infos["pred_ppl"].item()
        if watch is not None:
            watch.step()
    if watch is not None:
        watch.close()
    return model.state_dict(), logged, watch


def mean(readings, name):
    return sum(getattr(reading, name) for reading in readings) / len(readings)


@pytest.mark.parametrize("inside_teacher", [False, True])
def test_each_codebook_is_read_beside_its_predictions_as_the_recipe_logs_them(tmp_path, inside_teacher):
    weights, logged, _ = pretrain(tmp_path, watched=False, inside_teacher=inside_teacher)
    watched, _, watch = pretrain(tmp_path, inside_teacher=inside_teacher)
    assert all(torch.equal(watched[name], weights[name]) for name in weights)
    path = "teacher.cells" if inside_teacher else "cells"
    for step in 2, 4, 6:
        found = [reading for reading in watch.codebook_readings if reading.step == step]
        assert [reading.quantizer for reading in found] == [f"{path}.{i}" for i in range(3)]
        assert {reading.n_codes for reading in found} == {12}
        assert {reading.n_assignments for reading in found} == {int(batch(step - 1)[1].sum())}
        assert mean(found, "perplexity") == pytest.approx(logged[step][0], rel=1e-5)
        assert mean(found, "prediction_perplexity") == pytest.approx(logged[step][1], rel=1e-5)
        for reading in found:
            assert reading.perplexity <= reading.active_codes <= 12
            assert reading.active_code_fraction == pytest.approx(reading.active_codes / 12)


@pytest.mark.parametrize("compiled", ["before", "after"])
def test_a_model_that_is_compiled_as_a_whole_is_read_by_what_it_reports(tmp_path, compiled):
    """Hooks inside would break its graph; but it holds codebooks and reports perplexities."""
    _, logged, watch = pretrain(tmp_path, compiled=compiled)
    found = {reading.step: reading for reading in watch.codebook_readings}
    assert {reading.quantizer for reading in found.values()} == {"OnlineClustering"}
    for step in 2, 4, 6:
        assert (found[step].perplexity, found[step].prediction_perplexity) == pytest.approx(logged[step], rel=1e-5)
        assert found[step].n_assignments == 0


def test_codebooks_in_a_plain_dict_are_read_by_what_the_model_reports(tmp_path):
    """As in DinoSR's own code for fairseq, where no module is called that a hook could be on."""
    _, logged, watch = pretrain(tmp_path, kind=InADict)
    found = {reading.step: reading for reading in watch.codebook_readings}
    assert {(reading.quantizer, reading.n_codes) for reading in found.values()} == {("InADict", 12)}
    for step in 2, 4, 6:
        assert (found[step].perplexity, found[step].prediction_perplexity) == pytest.approx(logged[step], rel=1e-5)
