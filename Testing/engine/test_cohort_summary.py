"""The summary of a cohort: the doubtful ones first, the same figures everywhere, a page that stands alone."""

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest
from deepregister.cohort.outcome import MEASURES, Outcome, count, doubtful_first
from deepregister.cohort.summary import SHOWN, on_screen, to_csv, to_json, write_summary
from deepregister.confidence import Confidence


def outcome(name, score=0.9, folded=0.0, reasons=(), **others):
    measures = {"similarity_before": 0.25, "similarity_after": 0.75, "folded_fraction": folded, "dice_after": 2 / 3}
    values = {"measures": measures, "seconds": 12.5, "model": "deformable", "quality": "fast", "device": "CPU"}
    confidence = Confidence(score, tuple(reasons))
    return Outcome(name, f"/data/{name}/f.nii", "m.nii", "done", confidence=confidence, **{**values, **others})


COHORT = [
    outcome("fine"),
    outcome("folded little", folded=0.0001),
    outcome("unsure", 0.4, reasons=["The volumes overlap little.", "Second."]),
    Outcome("never", "f", "m"),
    outcome("less fine", 0.6, warnings=("A note & more.",)),
    Outcome("broken", "f", "m", "failed", "m.nii <b>is</b> damaged.\nCopy it again."),
    outcome("folded much", folded=0.01),
    outcome("hopeless", 0.05, folded=0.2, reasons=["Nothing fits."]),
]
ORDER = ["broken", "hopeless", "unsure", "folded much", "folded little", "less fine", "fine", "never"]


def test_the_doubtful_ones_come_first():
    assert [each.name for each in doubtful_first(COHORT)] == ORDER
    assert count(COHORT) == {"failed": 1, "low confidence": 2, "folds": 2, "good": 2, "not done": 1}


def test_the_table_has_every_pair_in_the_order_of_the_cohort():
    rows = list(csv.DictReader(io.StringIO(to_csv(COHORT))))
    assert [row["name"] for row in rows] == [each.name for each in COHORT]
    assert set(MEASURES) <= set(rows[0])
    assert float(rows[0]["dice_after"]) == pytest.approx(2 / 3, rel=1e-5)
    assert rows[0]["tre_after_mean_mm"] == "" and rows[3]["confidence"] == ""
    assert rows[2]["reasons"] == "The volumes overlap little. Second."
    assert rows[5]["reasons"] == COHORT[5].error


def test_the_json_has_the_same():
    content = json.loads(to_json(COHORT))
    assert content["counts"] == count(COHORT)
    assert content["pairs"][2]["confidence"]["reasons"] == ["The volumes overlap little.", "Second."]
    assert content["pairs"][0]["measures"]["dice_after"] == pytest.approx(2 / 3)


def test_the_screen_shows_what_to_look_at_and_where(tmp_path):
    lines = on_screen(COHORT, tmp_path).splitlines()
    assert [line.split("  ")[0] for line in lines[1:6]] == ORDER[:5]
    assert "m.nii <b>is</b> damaged. Copy it again." in lines[1]
    assert "0.05" in lines[2] and "Nothing fits." in lines[2]
    assert "folds in 1.0000%" in lines[4]
    assert lines[-3].split(None, 1)[1] == "8: 1 failed, 2 low confidence, 2 folds, 2 good, 1 not done"
    assert str(tmp_path / "index.html") in lines[-2]
    many = [outcome(f"pair {n}", 0.1) for n in range(SHOWN + 7)]
    assert "and 7 more" in on_screen(many, tmp_path)


class _Page(HTMLParser):
    """Rows of the table as cell texts, and all that refers to another file."""

    def __init__(self):
        super().__init__()
        self.rows, self.links, self.sources = [], [], []
        self._cell = None

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell = True
        if tag == "a":
            self.links.append(values["href"])
        self.sources += [values[name] for name in ("src", "srcset") if name in values]
        assert tag not in ("link", "iframe", "object", "base")

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._cell = None

    def handle_data(self, data):
        if self._cell:
            self.rows[-1][-1] += data


@pytest.fixture
def page(tmp_path):
    write_summary(COHORT, tmp_path, "my <cohort>.csv")
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    parsed = _Page()
    parsed.feed(text)
    return text, parsed


def test_the_page_lists_the_doubtful_ones_first_and_links_their_reports(page):
    _, parsed = page
    assert [row[1].split("f.nii")[0].split("m onto")[0].removesuffix("m.nii onto ") for row in parsed.rows[1:]] == ORDER
    assert parsed.links == [
        f"{name.replace(' ', '%20')}/report.html" for name in ORDER if name not in ("broken", "never")
    ]
    fine = parsed.rows[1 + ORDER.index("fine")]
    assert "0.90" in fine[2] and fine[3] == "0.25 → 0.75" and fine[4] == "0.667" and fine[5] == "0"
    assert parsed.rows[1 + ORDER.index("folded much")][5] == "1.000"
    assert parsed.rows[0][3:7] == ["Similarity", "Dice", "Folded, %", "Model"]


def test_the_page_stands_alone_and_escapes_what_it_shows(page):
    text, parsed = page
    assert parsed.sources == []
    assert "@import" not in text and "url(" not in text and "http" not in re.sub(r"http-equiv", "", text)
    assert "&lt;b&gt;is&lt;/b&gt; damaged" in text and "my &lt;cohort&gt;.csv" in text
    assert "default-src 'none'" in text


def test_files_are_written_whole_and_nothing_else(tmp_path):
    write_summary(COHORT, tmp_path, "x")
    write_summary(COHORT[:1], tmp_path, "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "summary.csv", "summary.json"]
    assert len((tmp_path / "summary.csv").read_text(encoding="utf-8").splitlines()) == 2
