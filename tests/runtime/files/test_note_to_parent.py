"""A process leaves a line for the one that has started it."""

import copy
import multiprocessing
import pickle

from rankwatch.runtime.files.note_to_parent import NoteToParent


def in_a_process(call, *arguments):
    process = multiprocessing.get_context("fork").Process(target=call, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0


def test_what_a_child_leaves_is_read_by_its_parent_alone():
    note = NoteToParent()
    note.leave("by the parent itself")
    assert note.read() == ""
    in_a_process(pickle.loads(pickle.dumps(note)).leave, "by the child")
    assert note.read() == copy.deepcopy(note).read() == "by the child"
    assert NoteToParent().read() == ""


def test_the_file_goes_with_the_object_and_not_with_the_childs():
    note = NoteToParent()
    in_a_process(note.leave, "line")
    file = note._file

    def drop():
        nonlocal note
        del note

    in_a_process(drop)
    assert file.exists()
    del note
    assert not file.exists()
