"""The page and files hold what was measured; text of others stays text."""

import dataclasses
import json
import re

import pytest
from made_up_layers import MadeUpCorpus

from rankwatch.analysis.analysis_result import Analysis
from rankwatch.analysis.decision.decide import decide
from rankwatch.analysis.measures.profile import Profile, measure_models
from rankwatch.analysis.output.figures import holdings, likeness, ranks
from rankwatch.analysis.output.sample_sizes import sample_sizes

pytest.importorskip("plotly")


@pytest.fixture(scope="module")
def analysis():
    corpus = MadeUpCorpus(utterances=96)
    full = {"speaker": 1.0, "emotion": 0.7, "phone": 1.0, "acoustics": 0.7}
    models = [corpus.model([corpus.layer(**full) for _ in range(count)], name)
              for count, name in ((3, "</script><b>one</b>"), (2, "other"))]  # fmt: skip
    profile = measure_models(models)
    layers = {one.name: one.layers for one in models}
    return Analysis(layers, profile, decide(profile, layers), {"corpus": "made up", "models": {"a": {"call": "x"}}})


def test_the_page_is_one_file_in_which_names_are_text(analysis, tmp_path):
    analysis.save(tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert "</script><b>one" not in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])
    assert data["conclusions"] == analysis.conclusions
    assert [figure["title"] for figure in data["figures"]] == [
        "What each layer holds", "Effective rank", "How alike layers are",
    ]  # fmt: skip
    for figure in data["figures"]:  # plotly reads tags in names
        assert "<b>one" not in json.dumps(figure["themes"])
    assert len(data["decision"]["rows"]) == len(analysis.decision.properties)


def test_figures_have_a_curve_for_each_model_and_property(analysis):
    figure = holdings(analysis.profile, analysis.layers)
    names = {trace.name for trace in figure.data if trace.name}
    assert len(names) == 2 * 4  # acoustics, phone, speaker, emotion
    assert {trace.name for trace in ranks(analysis.profile, analysis.layers).data if trace.name} == {
        "&lt;/script&gt;&lt;b&gt;one&lt;/b&gt;", "other",
    }  # fmt: skip
    shapes = [tuple(trace.z.shape) for trace in likeness(analysis.profile, analysis.layers).data]
    assert shapes == [(3, 3), (3, 3), (2, 2), (2, 2), (3, 2), (3, 2)]


def test_the_page_says_what_every_value_rests_on(analysis, tmp_path):
    """96 utterances by 8 speakers, each of 6 frames and 8 phones."""
    analysis.save(tmp_path)
    page = (tmp_path / "index.html").read_text()
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])
    (table,) = (one for one in data["tables"] if one["title"] == "What the numbers rest on")
    lines = {tuple(row[1:5]): row[5:] for row in table["rows"] if row[0] == "other"}
    assert lines["acoustics", "cca_squared", "frame", "all"] == ["576", "96 utterances", "8"]
    assert lines["the layer itself", "effective_rank", "utterance", "all"] == ["96", "96 utterances", "8"]
    assert lines["phone", "probe_accuracy", "span", "all"] == ["768", "96 utterances", "8"]
    assert lines["the layer itself", "effective_rank", "frame", "speaker=s3"] == ["72", "12 utterances", "1"]
    assert lines["emotion", "probe_accuracy", "utterance", "speaker=s3"] == ["12", "12 utterances", "1"]
    assert lines["layers of the same model", "cka", "frame", "all"] == ["576", "96 utterances", "8"]
    hovers = json.dumps([figure["themes"]["light"] for figure in data["figures"]])
    for words in ("768 rows of 96 utterances by 8 speakers", "576 rows of 96 utterances by 8 speakers"):
        assert words in hovers


def test_a_models_name_may_have_slashes(analysis):
    one, other = analysis.layers
    named = [
        dataclasses.replace(m, model=m.model.replace(other, "zoo/other"), target=m.target.replace(other, "zoo/other"))
        for m in analysis.measurements
    ]
    profile, layers = Profile(named), {one: analysis.layers[one], "zoo/other": analysis.layers[other]}
    assert len(likeness(profile, layers).data) == 6
    assert "layers of zoo/other" in {row[1] for row in sample_sizes(named)["rows"]}


def test_without_plotly_the_other_files_are_written(analysis, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    analysis.save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"profile.jsonl", "profile.csv", "conclusions.txt"}
