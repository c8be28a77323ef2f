"""Speech with its labels, speakers, transcripts and alignments, in whatever form it lies on disk, as plain data."""

from rankwatch.corpora.corpus import Corpus, Span, Utterance
from rankwatch.corpora.read_corpus import read_corpus

__all__ = ["Corpus", "Span", "Utterance", "read_corpus"]
