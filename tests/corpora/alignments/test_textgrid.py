"""TextGrids in both forms, with whatever labels."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankwatch.corpora.alignments.textgrid import read_textgrid
from rankwatch.corpora.corpus import Span

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1.5
        intervals: size = {count}
{intervals}
    item [2]:
        class = "TextTier"
        name = "beats"
        xmin = 0
        xmax = 1.5
        points: size = 1
        points [1]:
            number = 0.5
            mark = "x"
"""


def long_form(spans):
    """As Praat writes it."""
    intervals = [
        f'    intervals [{i}]:\n        xmin = {s.start}\n        xmax = {s.end}\n        text = "{quoted}"'
        for i, s in enumerate(spans, 1)
        for quoted in [s.label.replace('"', '""')]
    ]
    return LONG.format(count=len(spans), intervals="\n".join(intervals))


def short_form(spans):
    """The same without words."""
    lines = [line.partition("=")[2].strip() or line.strip() for line in long_form([]).splitlines()]
    lines = [line for line in lines if not re.match(r"(item|points) ?\[|^$", line)]
    head, tail = lines[:10], lines[11:]
    lines = [line.replace("tiers? ", "") for line in head] + [str(len(spans))]
    for s in spans:
        lines += [str(s.start), str(s.end), '"' + s.label.replace('"', '""') + '"']
    return "\n".join(lines + tail)


LABELS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1).filter(lambda t: t == t.strip())
SPANS = st.lists(
    st.builds(lambda s, d, t: Span(s, s + d, t), st.floats(0, 100), st.floats(0.001, 10), LABELS), max_size=5
)


@settings(max_examples=30)
@given(SPANS)
def test_both_forms_give_what_was_written(spans):
    for text in (long_form(spans), short_form(spans)):
        assert read_textgrid(text) == {"words": spans}


@pytest.mark.parametrize("cut", [1, 3, 8, 14])
def test_half_a_file_or_another_file_is_refused(cut):
    whole = long_form([Span(0.0, 1.0, "a")])
    with pytest.raises(ValueError, match=r"is the file whole|where a number is due"):
        read_textgrid("\n".join(whole.splitlines()[:-cut]) if cut < 14 else whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="does not begin as a TextGrid"):
        read_textgrid('"ooTextFile" "Pitch" 0 1')
