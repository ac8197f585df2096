"""The run: what is done is kept, what was interrupted is done again, and comments change nothing."""

import json

from census import run
from census.one import CUT_SHORT


def keep(path, reason):
    path.parent.mkdir(parents=True, exist_ok=True)
    row = {"name": "A", "built": True, "reason": None, "backends": {"eager": {"reason": reason, "rules": {}}}}
    path.write_text(json.dumps(row), encoding="utf-8")


def test_a_row_at_which_a_census_was_stopped_is_not_done(tmp_path):
    assert not run._done(tmp_path / "A.json")
    keep(tmp_path / "A.json", CUT_SHORT)
    assert not run._done(tmp_path / "A.json")
    keep(tmp_path / "A.json", "does not offer eager")
    assert run._done(tmp_path / "A.json")


def test_rows_are_borrowed_from_the_newest_other_version_with_the_same_libraries(tmp_path):
    keep(tmp_path / "torch-2_transformers-5_old" / "A.json", "old")
    keep(tmp_path / "torch-2_transformers-4_new" / "B.json", "other libraries")
    keep(tmp_path / "torch-2_transformers-5_half" / "B.json", CUT_SHORT)
    run._borrow(tmp_path / "torch-2_transformers-5_now", ["A", "B"])
    kept = [path.name for path in (tmp_path / "torch-2_transformers-5_now").iterdir()]
    assert kept == ["A.json"]


def test_comments_do_not_change_the_version_of_the_audit_and_code_does(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "ROOT", tmp_path)
    audit = tmp_path / "src" / "lookbehind" / "auditor"
    audit.mkdir(parents=True)
    (tmp_path / "census").mkdir()
    (tmp_path / "census" / "one.py").write_text("", encoding="utf-8")
    (audit / "rule.py").write_text("x = 1", encoding="utf-8")
    before = run.code()
    (audit / "rule.py").write_text("x = 1  # why", encoding="utf-8")
    (audit / "report_text.py").write_text("words = 3", encoding="utf-8")
    assert run.code() == before
    (audit / "rule.py").write_text("x = 2", encoding="utf-8")
    assert run.code() != before


def test_names_with_a_slash_have_a_file_of_their_own(tmp_path):
    assert run._path(tmp_path, "LlamaForCausalLM/internlm3").parent == tmp_path
