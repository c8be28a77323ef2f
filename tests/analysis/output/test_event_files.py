"""What TensorBoard is given is what was measured: read back from the event files."""

import io

import numpy as np
import pytest
from made_up_layers import MadeUpCorpus
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rankwatch import analyze
from rankwatch.analysis.analysis_result import Analysis
from rankwatch.analysis.decision.decide import decide
from rankwatch.analysis.measures.profile import measure_models
from rankwatch.analysis.output.event_files import write_event_files
from rankwatch.reporting.tags import Tags

FULL = {"speaker": 1.0, "emotion": 0.7, "phone": 1.0, "acoustics": 0.7}


@pytest.fixture(scope="module")
def analysis():
    corpus = MadeUpCorpus(utterances=48)
    models = [corpus.model([corpus.layer(**FULL) for _ in range(count)], name)
              for count, name in ((3, "zoo:$x$"), (2, "zoo/$x$"))]  # fmt: skip
    profile = measure_models(models)
    layers = {one.name: one.layers for one in models}
    return Analysis(layers, profile, decide(profile, layers), {"corpus": "made up", "models": {}})


@pytest.fixture(scope="module")
def runs(analysis, tmp_path_factory):
    """The event files of both models, after a second analysis has been written over the first."""
    folder = tmp_path_factory.mktemp("analysis")
    for _ in range(2):
        write_event_files(folder, analysis.profile, analysis.layers, analysis.conclusions)
    read = {}
    for there in sorted(folder.iterdir()):
        assert len(list(there.iterdir())) == 1
        read[there.name] = EventAccumulator(str(there), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
        read[there.name].Reload()
    return read


def test_each_model_is_a_run_and_each_layer_a_step(analysis, runs):
    assert list(runs) == ["zoo-x", "zoo-x-2"]
    for model, run in zip(analysis.layers, runs.values(), strict=True):
        for measure, target in (("probe_accuracy", "phone"), ("cca_squared", "acoustics"), ("effective_rank", "")):
            found = analysis.profile.find(
                model=model, measure=measure, target=target, level=None if target else "frame"
            )
            labels = [layer.label for layer in analysis.layers[model]]
            for end, part in (("", "value"), ("_low", "low"), ("_high", "high")):
                points = run.Scalars(Tags().profile(f"{measure}_{target or 'frame'}", end))
                expected = [(k, np.float32(getattr(found[label], part))) for k, label in enumerate(labels)]
                assert [(point.step, np.float32(point.value)) for point in points] == expected


def test_pairs_and_groups_are_no_scalars(analysis, runs):
    tags = runs["zoo-x"].Tags()["scalars"]
    assert any(one.group for one in analysis.measurements)
    assert all(tag.startswith("RankWatch_layers/") for tag in tags)
    assert not [tag for tag in tags if "similarity" in tag or "cka" in tag or "same_mix" in tag]


def test_pictures_show_curves_and_how_alike_layers_are(runs):
    images = runs["zoo-x"].Tags()["images"]
    expected = {"cca_squared", "probe_accuracy", "effective_rank", "similarity", "cka", "similarity_to_zoo/$x$"}
    assert {f"RankWatch/{what}" for what in expected} <= set(images)
    assert not [tag for tag in runs["zoo-x-2"].Tags()["images"] if "_to_" in tag]  # the first was compared with it
    pixels = np.array(Image.open(io.BytesIO(runs["zoo-x"].Images("RankWatch/cka")[0].encoded_image_string)))
    assert (pixels == [253, 231, 55]).all(axis=2).sum() > 1000  # each layer is alike to itself: cividis' brightest


def test_the_layout_and_texts_stand_beside(runs, analysis):
    run = runs["zoo-x"]
    assert "custom_scalars__config__" in run.Tags()["tensors"]
    (said,) = run.Tensors("RankWatch/conclusions/text_summary")
    assert analysis.conclusions[0] in said.tensor_proto.string_val[0].decode()
    (layers,) = run.Tensors("RankWatch/layers/text_summary")
    assert "| 2 | L02 |" in layers.tensor_proto.string_val[0].decode()


def test_wrong_wishes_are_refused_before_anything_is_run(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="say which by out="):
        analyze(None, tmp_path, tensorboard=True)
    with pytest.raises(ValueError, match="tensorboard must be True or False"):
        analyze(None, tmp_path, tensorboard="yes", out=tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        analyze(None, tmp_path, tensorboard=True, out=tmp_path)
