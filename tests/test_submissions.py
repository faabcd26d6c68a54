"""What students send: whose it is, what of it counts, and a sentence for what cannot be read.

Every file is made here, small; the bounds are tested with small bounds.
"""

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bomrl_lite.course.classroom.judge import Judge, Limits
from bomrl_lite.course.classroom.sent_files import Bounds, Unreadable, read_bytes
from bomrl_lite.course.classroom.sent_notebook import read_notebook
from bomrl_lite.course.classroom.submissions import collect, fingerprint

RELEASED = "03_universal_adaptation"
PLAIN = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def notebook(*sources: str, **more: object) -> bytes:
    cells = [
        {"cell_type": "code", "metadata": {}, "source": source, "outputs": []} for source in sources
    ]
    return json.dumps({**PLAIN, "cells": cells, **more}).encode()


def raw(cells: object, **more: object) -> bytes:
    return json.dumps({**PLAIN, "cells": cells, **more}).encode()


def zipped(**files: bytes) -> bytes:
    return zip_of(files)


def zip_of(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def put(folder: Path, files: Mapping[str, bytes | None]) -> Path:
    """Write files; None makes a folder."""
    for name, content in files.items():
        path = folder / name
        if content is None:
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return folder


def sent(*paths: Path, **how) -> dict[str, list[str]]:
    """Student -> names of the files, those that count first."""
    found = collect(paths, RELEASED, **how)
    return {each.student: [file.name for file in each.files] for each in found}


NOTEBOOK = notebook("x = 1")

# ------------------------------------------------------------------ whose it is

EXPORTS = {
    "loose files": (
        {"anna.ipynb": NOTEBOOK, "bob lee.ipynb": NOTEBOOK},
        {"anna": ["anna.ipynb"], "bob lee": ["bob lee.ipynb"]},
    ),
    "numbered groups are not copies of one": (
        {"group-1.ipynb": NOTEBOOK, "group-2.ipynb": NOTEBOOK},
        {"group-1": ["group-1.ipynb"], "group-2": ["group-2.ipynb"]},
    ),
    "a folder for each, as nbgrader has them": (
        {f"{name}/set03/{RELEASED}.ipynb": NOTEBOOK for name in ("anna", "bob")},
        {name: [f"{RELEASED}.ipynb"] for name in ("anna", "bob")},
    ),
    "a folder for each, within others": (
        {f"export/week 3/{name}/deep/er/x.ipynb": NOTEBOOK for name in ("anna", "bob")},
        {"anna": ["x.ipynb"], "bob": ["x.ipynb"]},
    ),
    "one student's folder": (
        {f"anna/{RELEASED}.ipynb": NOTEBOOK, "anna/scratch.ipynb": NOTEBOOK},
        {"anna": ["scratch.ipynb", f"{RELEASED}.ipynb"]},
    ),
    "a zip for each": (
        {"anna.zip": zipped(a=b"", **{"x.ipynb": NOTEBOOK}), "bob.zip": zip_of({"y.ipynb": b"1"})},
        {"anna": ["anna.zip/x.ipynb", "anna.zip/a"], "bob": ["bob.zip/y.ipynb"]},
    ),
    "Canvas": (
        {
            "leeanna_12345_678_03.ipynb": NOTEBOOK,
            "doebob_LATE_12346_680_my_answer.ipynb": NOTEBOOK,
            "doebob_12346_679_my_answer.ipynb": NOTEBOOK,
        },
        {
            "doebob": ["doebob_LATE_12346_680_my_answer.ipynb", "doebob_12346_679_my_answer.ipynb"],
            "leeanna": ["leeanna_12345_678_03.ipynb"],
        },
    ),
    "Canvas, sent again": (
        {f"leeanna_12345_678_03{again}.ipynb": NOTEBOOK for again in ("", "-1", "-10", "-2")},
        {"leeanna": [f"leeanna_12345_678_03{again}.ipynb" for again in ("-10", "-2", "-1", "")]},
    ),
    "Canvas, a zip in the zip": (
        {
            "submissions.zip": zip_of(
                {
                    "leeanna_12345_678_work.zip": zip_of({"src/03.ipynb": NOTEBOOK}),
                    "doebob_12346_679_03.ipynb": NOTEBOOK,
                }
            )
        },
        {
            "doebob": ["submissions.zip/doebob_12346_679_03.ipynb"],
            "leeanna": ["submissions.zip/leeanna_12345_678_work.zip/src/03.ipynb"],
        },
    ),
    "Moodle": (
        {
            "Anna Lee_1234_assignsubmission_file_/03.ipynb": NOTEBOOK,
            "Bob O'Hara_1235_assignsubmission_file_/sub/03.ipynb": NOTEBOOK,
            "Bob O'Hara_1235_assignsubmission_onlinetext_/onlinetext.html": b"<p>hello</p>",
            "Çiğdem Öz_1236_assignsubmission_file_work.ipynb": NOTEBOOK,
        },
        {
            "Anna Lee": ["03.ipynb"],
            "Bob O'Hara": ["03.ipynb", "onlinetext.html"],
            "Çiğdem Öz": ["Çiğdem Öz_1236_assignsubmission_file_work.ipynb"],
        },
    ),
    "Moodle, one student alone": (
        {"Anna Lee_1234_assignsubmission_file_/03.ipynb": NOTEBOOK},
        {"Anna Lee": ["03.ipynb"]},
    ),
    "Moodle, two of the same name": (
        {
            "Anna Lee_1234_assignsubmission_file_/03.ipynb": NOTEBOOK,
            "Anna Lee_9_assignsubmission_file_/03.ipynb": NOTEBOOK,
        },
        {"Anna Lee (1234)": ["03.ipynb"], "Anna Lee (9)": ["03.ipynb"]},
    ),
    "Blackboard": (
        {
            "Set 03_alee_attempt_2026-11-28-10-15-30_03.ipynb": NOTEBOOK,
            "Set 03_alee_attempt_2026-11-28-09-15-30_03.ipynb": NOTEBOOK,
            "Set 03_alee_attempt_2026-11-28-10-15-30.txt": b"Name: A Lee (alee)",
            "Set 03_bdoe_attempt_2026-11-27-23-59-59_x.ipynb": NOTEBOOK,
        },
        {
            "alee": [
                "Set 03_alee_attempt_2026-11-28-10-15-30_03.ipynb",
                "Set 03_alee_attempt_2026-11-28-09-15-30_03.ipynb",
            ],
            "bdoe": ["Set 03_bdoe_attempt_2026-11-27-23-59-59_x.ipynb"],
        },
    ),
    "copies of a browser and of JupyterLab": (
        {"anna.ipynb": NOTEBOOK, "anna (2).ipynb": NOTEBOOK, "anna-Copy1.ipynb": NOTEBOOK},
        {"anna": ["anna (2).ipynb", "anna-Copy1.ipynb", "anna.ipynb"]},
    ),
    "renamed by a browser": (
        {"anna.ipynb.txt": NOTEBOOK, "bob.IPYNB": NOTEBOOK, "cem.ipynb.json": NOTEBOOK},
        {"anna": ["anna.ipynb.txt"], "bob": ["bob.IPYNB"], "cem": ["cem.ipynb.json"]},
    ),
    "what systems add is passed over": (
        {
            "anna/x.ipynb": NOTEBOOK,
            "anna/.ipynb_checkpoints/x-checkpoint.ipynb": NOTEBOOK,
            "anna/.DS_Store": b"",
            "__MACOSX/anna/._x.ipynb": b"",
            "bob/timestamp.txt": b"2026",
            "bob/x.ipynb": NOTEBOOK,
        },
        {"anna": ["x.ipynb"], "bob": ["x.ipynb"]},
    ),
    "a notebook counts before what is none": (
        {"anna/report.pdf": b"%PDF", "anna/a.ipynb": NOTEBOOK, "bob/b.py": b"x = 1"},
        {"anna": ["a.ipynb", "report.pdf"], "bob": ["b.py"]},
    ),
    "an empty folder is a student who sent nothing": (
        {"anna/x.ipynb": NOTEBOOK, "bob": None},
        {"anna": ["x.ipynb"], "bob": ["bob"]},
    ),
}


@pytest.mark.parametrize(("files", "expected"), EXPORTS.values(), ids=EXPORTS)
def test_whose_a_file_is_and_which_counts(tmp_path, files, expected):
    made = put(tmp_path / "sent", files)
    for file in made.rglob("*"):
        os.utime(file, (1e9, 1e9))  # the names alone decide
    found = sent(made)
    assert found == expected
    assert list(found) == sorted(found, key=str.casefold)


def test_files_are_named_one_by_one_too(tmp_path):
    files = {f"{name}/set03/{RELEASED}.ipynb": NOTEBOOK for name in ("anna", "bob")}
    put(tmp_path, {**files, "c.zip": zip_of({f"{RELEASED}.ipynb": NOTEBOOK, "own.ipynb": b""})})
    found = sent(*sorted(tmp_path.rglob("*.ipynb")), tmp_path / "c.zip")
    assert {name: len(files) for name, files in found.items()} == {"anna": 1, "bob": 1, "c": 2}
    twice = sent(tmp_path, tmp_path / "anna", *tmp_path.rglob("*.ipynb"))
    assert sum(len(files) for files in twice.values()) == 4


def test_of_two_files_without_a_mark_the_one_that_was_changed_last_counts(tmp_path):
    put(tmp_path, {f"{name}/{file}.ipynb": NOTEBOOK for name in ("anna", "bob") for file in "ab"})
    for path, seconds in zip(sorted(tmp_path.rglob("*.ipynb")), (9, 5, 5, 9), strict=True):
        os.utime(path, (1e9 + seconds, 1e9 + seconds))
    assert sent(tmp_path) == {"anna": ["a.ipynb", "b.ipynb"], "bob": ["b.ipynb", "a.ipynb"]}


def test_what_an_lms_says_of_a_student_is_kept(tmp_path):
    put(tmp_path, {"doebob_LATE_12346_680_x.ipynb": NOTEBOOK, "ann_99_12_x.ipynb": NOTEBOOK})
    assert [each[:3] for each in collect([tmp_path])] == [
        ("ann", "99", False),
        ("doebob", "12346", True),
    ]


# ------------------------------------------------------------------ what cannot be a notebook

BROKEN_ZIP = zip_of({"x.ipynb": NOTEBOOK})[:-30]
FLIPPED = bytearray(zip_of({"x.ipynb": NOTEBOOK}))
FLIPPED[45] ^= 0xFF

PROBLEMS = {
    "a script": ({"a.py": b"x = 1"}, "a Python script: ask for the notebook"),
    "a PDF": ({"a.pdf": b"%PDF"}, "no notebook (its name ends in .pdf): ask for the .ipynb"),
    "no ending": ({"a": b"x"}, "no notebook (its name ends in nothing)"),
    "another archive": ({"a.rar": b"Rar!"}, "archives of the kind .rar are not opened: unpack"),
    "an empty file": ({"a.ipynb": b""}, "the file is empty: ask for it again"),
    "a blank file": ({"a.ipynb": b" \n"}, "the file is empty"),
    "half a file": ({"a.ipynb": NOTEBOOK[:50]}, "it is damaged (no JSON, line 1): ask for it"),
    "bytes": ({"a.ipynb": bytes(range(256))}, "it is damaged (no JSON"),
    "deep JSON": ({"a.ipynb": b"[" * 100_000}, "it is damaged (no JSON"),
    "a web page": ({"a.ipynb": b"\n<!DOCTYPE html><p>"}, "a web page under the name of a notebook"),
    "a PDF by its content": ({"a.ipynb": b"%PDF-1.7"}, "a PDF under the name of a notebook"),
    "a zip by its content": ({"a.ipynb": zip_of({"x": b"1"})}, "let its name end in .zip"),
    "a merge": ({"a.ipynb": b"{\n<<<<<<< a\n=======\n>>>>>>> b\n"}, "merge that was not ended"),
    "other JSON": ({"a.json": b'{"a": 1}'}, "it holds no notebook, though it is JSON"),
    "a number": ({"a.ipynb": b"1"}, "it holds no notebook, though it is JSON"),
    "an empty zip": ({"a.zip": zip_of({})}, "the archive is empty: nothing was handed in"),
    "half a zip": ({"a.zip": BROKEN_ZIP}, "the archive cannot be read (File is not a zip file)"),
    "a spoilt zip": ({"a.zip": bytes(FLIPPED)}, "it cannot be read ("),
    "no zip": ({"a.zip": b"hello"}, "the archive cannot be read"),
    "a zip below four": (
        {"a.zip": zip_of({"b.zip": zip_of({"c.zip": zip_of({"d.zip": b""})})})},
        "an archive below 3 others is not opened",
    ),
    "a broken zip in a zip": ({"a.zip": zip_of({"b.zip": b"hello"})}, "the archive cannot be read"),
    "out of the archive": ({"a.zip": zip_of({"../../x.ipynb": NOTEBOOK})}, "out of the archive"),
    "from the root": ({"a.zip": zip_of({"/etc/x.ipynb": NOTEBOOK})}, "out of the archive"),
    "to a drive": ({"a.zip": zip_of({"C:\\x.ipynb": NOTEBOOK})}, "out of the archive"),
    "too many entries": (
        {"a.zip": zip_of({f"{n}.ipynb": b"" for n in range(6)})},
        "the archive has 6 entries, more than 5",
    ),
    "too large": ({"a.ipynb": b" " * (2**20 + 1)}, "more than 1 MiB: ask for it again without its"),
    "too large in a zip": (
        {"a.zip": zip_of({"x.ipynb": b" " * (2**20 + 1)})},
        "more than 1 MiB: ask for it again without its outputs",
    ),
    "a zip too large in a zip": (
        {"a.zip": zip_of({"b.zip": b" " * (2**20 + 1)})},
        "more than 1 MiB",
    ),
}


def content(path: Path, bounds: Bounds) -> None:
    """Read the file of student ``a``, whose place may be in archives."""
    found = next(each for each in collect([path], bounds=bounds) if each.student == "a")
    read_notebook(read_bytes(found.files[0], bounds))


@pytest.mark.parametrize(("files", "words"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_is_no_notebook_gets_a_sentence_and_hides_no_other(tmp_path, files, words):
    put(tmp_path / "sent", {**files, "good.ipynb": NOTEBOOK})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Unreadable) as caught:
        content(tmp_path / "sent", Bounds(file_mib=1, entries=5))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sent(tmp_path / "sent")["good"] == ["good.ipynb"]
    assert sorted(tmp_path.rglob("*")) == before


def link(path: Path) -> None:
    path.symlink_to("good.ipynb")


def pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.skipif(os.name == "nt", reason="needs links and pipes of POSIX")
@pytest.mark.parametrize(
    ("make", "words"), [(link, "a link, which is not followed"), (pipe, "no file that can be read")]
)
def test_what_is_no_file_is_not_opened(tmp_path, make: Callable[[Path], None], words):
    put(tmp_path, {"good.ipynb": NOTEBOOK})
    make(tmp_path / "a.ipynb")
    with pytest.raises(Unreadable, match=words):
        content(tmp_path, Bounds())


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "the folder is empty: nothing was handed in"),
        ({"a.pdf": b"", "b.py": b""}, "a.pdf: it is no notebook"),
        ({"a.zip": b"hello"}, "a.zip: the archive cannot be read"),
    ],
)
def test_a_folder_without_a_notebook_is_refused(tmp_path, files, words):
    folder = put(tmp_path / "sent", {"": None, **files})
    with pytest.raises(ValueError, match=f"no notebook in .*sent .*{words}"):
        collect([folder])


def test_a_path_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        collect([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="no notebook in nothing"):
        collect([])


# ------------------------------------------------------------------ reading

V3 = {
    "nbformat": 3,
    "nbformat_minor": 0,
    "metadata": {"name": ""},
    "worksheets": [
        {
            "cells": [
                {"cell_type": "heading", "level": 1, "source": ["A"], "metadata": {}},
                {"cell_type": "code", "input": ["a = 1\n", "b = 2"], "language": "python"},
            ]
        }
    ],
}
CODE = {"cell_type": "code", "source": "x", "metadata": {}, "outputs": []}

READABLE = {
    "format 3": (json.dumps(V3).encode(), ["A", "a = 1\nb = 2"]),
    "format 4.2": (notebook("x", nbformat_minor=2), ["x"]),
    "a format to come": (notebook("x", nbformat=5), ["x"]),
    "without its format": (json.dumps({"cells": [CODE]}).encode(), ["x"]),
    "a mark of the order of bytes": (b"\xef\xbb\xbf" + notebook("x"), ["x"]),
    "UTF-16": (notebook("x").decode().encode("utf-16"), ["x"]),
    "lines": (notebook(["a\n", "b"]), ["a\nb"]),  # type: ignore[arg-type]
    "half a surrogate pair": (notebook("x = '\ud800'"), ["x = '?'"]),
    "no cells": (json.dumps(PLAIN).encode(), []),
    "another kernel": (notebook("x", metadata={"kernelspec": {"name": "ir"}}), ["x"]),
    "metadata of another kind": (notebook("x", metadata=[1, 2]), ["x"]),
    "cells of another kind": (raw([1, None, CODE]), ["x"]),
    "cells that are none": (raw("x"), []),
    "sources that are none": (
        json.dumps(
            {**PLAIN, "cells": [{**CODE, "source": [1, "y"]}, {**CODE, "source": 3}]}
        ).encode(),
        ["y", ""],
    ),
    "ids twice": (
        raw([{**CODE, "id": "a"}, {**CODE, "id": "a"}]),
        ["x", "x"],
    ),
}


@pytest.mark.parametrize(("data", "sources"), READABLE.values(), ids=READABLE)
def test_what_can_be_read_is(data, sources):
    read = read_notebook(data)
    assert [cell.source for cell in read.cells] == sources
    assert all(cell.outputs == [] for cell in read.cells if cell.cell_type == "code")
    assert all(isinstance(cell.metadata, dict) for cell in read.cells)


def test_outputs_of_50_mb_are_read_and_left_behind():
    output = {"output_type": "stream", "name": "stdout", "text": "x" * 50_000_000}
    cells = [{**CODE, "outputs": [output]}]
    data = json.dumps(
        {**PLAIN, "cells": cells, "metadata": {"widgets": {"a": "b" * 1000}}}
    ).encode()
    read = read_notebook(data)
    assert len(json.dumps(read)) < 500
    assert read.cells[0].source == "x"


def test_a_fingerprint_tells_what_counts_and_what_is_in_it(tmp_path):
    def now() -> str:
        submission, _ = collect([tmp_path])
        return fingerprint(submission)

    put(tmp_path, {"bob.ipynb": NOTEBOOK, f"anna/{RELEASED}.ipynb": NOTEBOOK, "anna/b.pdf": b""})
    first = now()
    (tmp_path / "anna" / f"{RELEASED}.ipynb").touch()
    assert now() == first
    (tmp_path / "anna" / f"{RELEASED}.ipynb").write_bytes(notebook("x = 2"))
    second = now()
    (tmp_path / "anna" / f"{RELEASED} (1).ipynb").write_bytes(NOTEBOOK)
    assert len({first, second, now()}) == 3


# ------------------------------------------------------------------ and judged

IMPORT = "import torch\nimport bomrl_lite as bl"
KL = """def kl_distance(phi, theta, nu):
    gap = phi.log_softmax(-1) - theta.log_softmax(-1)
    return (nu * (phi.softmax(-1) * gap).sum(-1)).sum()"""
CHECK = "kl_distance = checks.kl_distance(kl_distance)"
WRONG = KL.replace("phi.log_softmax(-1) - theta", "theta.log_softmax(-1) - phi")
LINES = KL.splitlines(keepends=True)


def with_line(line: str) -> str:
    """Put a line first into the answer."""
    return KL.replace("    gap", f"    {line}\n    gap")


def older(*sources: str) -> bytes:
    cells = [{"cell_type": "code", "input": source, "language": "python"} for source in sources]
    return json.dumps({**V3, "worksheets": [{"cells": cells}]}).encode()


HELPER = "def log_ratio(phi, theta):\n    return phi.log_softmax(-1) - theta.log_softmax(-1)"
WITH_HELPER = KL.replace("phi.log_softmax(-1) - theta.log_softmax(-1)", "log_ratio(phi, theta)")
SAME_ID = {"cell_type": "code", "metadata": {}, "outputs": [], "id": "11-267e3b29"}
JULIA = {"kernelspec": {"name": "julia-1.9", "language": "julia", "display_name": "Julia"}}
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1])\nplt.show()"

SENT = {
    "as it was handed out": (notebook(IMPORT, KL, CHECK), "solved"),
    "nothing in it": (notebook(), "missing"),
    "the answer's cell deleted": (notebook(IMPORT, CHECK), "missing"),
    "the check's cell deleted": (notebook(IMPORT, KL), "solved"),
    "copied, under one id": (
        raw([{**SAME_ID, "source": text} for text in (IMPORT, WRONG, CHECK, KL, CHECK, CHECK)]),
        "solved",
    ),
    "a wrong one after the right one": (notebook(IMPORT, KL, WRONG), "wrong"),
    "out of order": (notebook(CHECK, KL, IMPORT), "solved"),
    "split in two": (notebook(IMPORT, HELPER, WITH_HELPER), "solved"),
    "a helper that comes later": (notebook(IMPORT, WITH_HELPER, HELPER), "solved"),
    "a function torn apart": (notebook(IMPORT, "".join(LINES[:1]), "".join(LINES[1:])), "wrong"),
    "cells between": (notebook("1 / 0", IMPORT, "x = 3", KL, "raise SystemExit"), "solved"),
    "magics": (notebook("%matplotlib inline", f"{IMPORT}\n!ls\n%time x = 1", KL), "solved"),
    "a magic in the answer's cell": (notebook(IMPORT, f"%time x = 1\n{KL}"), "solved"),
    "a syntax error elsewhere": (notebook(IMPORT, "def broken(:", KL), "solved"),
    "another kernel": (notebook(IMPORT, KL, metadata=JULIA), "solved"),
    "format 3": (older(IMPORT, KL), "solved"),
    "format 4.2": (notebook(IMPORT, KL, nbformat_minor=2), "solved"),
    "an answer that prints": (notebook(IMPORT, with_line("print('x' * 10**6)")), "solved"),
    "an answer that warns": (
        notebook(f"import warnings\n{IMPORT}", with_line("warnings.warn('careful')")),
        "solved",
    ),
    "an answer without an end": (
        notebook(IMPORT, with_line("while True:\n        pass")),
        "wrong",
    ),
    "a cell that plots": (notebook(IMPORT, PLOT, KL), "solved"),
}


@pytest.fixture(scope="module")
def judge():
    with Judge(limits=Limits(seconds=4)) as made:
        yield made


@pytest.mark.parametrize(("data", "status"), SENT.values(), ids=SENT)
def test_what_is_sent_earns_what_its_answer_earns(judge, data, status):
    found = judge.judge(read_notebook(data), "03")
    kl = found[1]
    assert (kl.name, kl.status) == ("kl_distance", status), kl
    assert kl.points == (kl.max_points if status == "solved" else 0)
    assert kl.message or status == "solved"
    assert {verdict.status for verdict in found if verdict.name != kl.name} == {"missing"}


def test_an_answer_that_takes_its_time_has_time(judge):
    slow = notebook(IMPORT, "import time", with_line("time.sleep(0.2)"))
    assert judge.judge(read_notebook(slow), "03")[1].status == "solved"
