"""The scripts under ``training/``: they run from end to end, and their yardstick is a true distribution."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

TRAINING = Path(__file__).parents[2] / "training"


@pytest.fixture
def scripts(monkeypatch):
    """The modules of ``training/``, importable as they are for one another."""
    monkeypatch.syspath_prepend(str(TRAINING))
    names = ("data", "trigram")
    yield [__import__(name) for name in names]
    for name in names:
        sys.modules.pop(name)


def test_two_steps_make_a_model(tmp_path):
    settings = "--steps 2 --documents 8 --vocab 400 --batch-tokens 256 --short 64 --long 256 --no-compile"
    out = tmp_path / "weights"
    paths = ["--out", out, "--checkpoint", tmp_path / "checkpoint.pt"]
    done = subprocess.run(
        [sys.executable, TRAINING / "train.py", *settings.split(), *paths],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"weights", "checkpoint.pt"}
    figures = json.loads((out / "training.json").read_text())
    assert figures["steps"] == 2
    assert figures["held_out"]["model"]["nats_per_token"] == pytest.approx(np.log(400), abs=1.0)

    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(out, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(out, local_files_only=True)
    assert model(**tokenizer("import os", return_tensors="pt")).logits.shape[-1] == 400


def test_split_is_by_file_and_steady(scripts):
    data, _ = scripts
    names = [f"package/module{number}.py" for number in range(4000)]
    assert 0.04 < sum(map(data.held_out, names)) / len(names) < 0.06
    assert data.held_out("distutils/command/build_clib.py")  # the demo text
    assert not data.held_out("distutils/command/build_ext.py")


def test_corpus_leaves_out_tests_tables_and_build_records(scripts):
    data, _ = scripts
    names = set(data.documents())
    assert {"argparse.py", "json/decoder.py"} <= names
    assert not [name for name in names if {"test", "tests", "idle_test"} & set(name.split("/"))]
    assert not names & {"pydoc_data/topics.py", "encodings/cp1252.py", "html/entities.py"}
    assert not [name for name in names if name.startswith(("_sysconfigdata", "site-packages"))]


def test_batches_mix_in_repeats(scripts):
    data, _ = scripts
    documents = [np.arange(1, 300), np.arange(300, 500)]
    plain, labels = data.Batches(documents, 500, seed=0, repeated=0.0).take(8, 32)
    assert (plain[:, 1:] == labels[:, :-1]).all() and (labels >= 0).all()
    assert (
        np.concatenate([plain[0], plain[1]]) == np.concatenate([plain[0], labels[0, -1:], plain[1, 1:]])
    ).all()
    rows, labels = data.Batches(documents, 500, seed=0, repeated=1.0).take(8, 32)
    for row, targets in zip(rows, labels, strict=True):
        assert any((row[period:] == row[:-period]).all() for period in range(1, 17))
        assert (targets[:-1] == row[1:])[targets[:-1] >= 0].all()
    assert (labels == -100).any() and (labels[:, -1] >= 0).all()


def test_trigram_is_a_distribution(scripts):
    _, trigram = scripts
    rng = np.random.default_rng(0)
    documents = [np.concatenate([[0], rng.zipf(1.5, 400) % 40]) for _ in range(5)]
    model = trigram.Trigram(documents, 50)
    for context in ([0], [0, 3], [0, 49, 48], documents[0][:20]):
        total = sum(np.exp(-model.losses(np.append(context, token))[-1]) for token in range(50))
        assert total == pytest.approx(1.0)


def test_trigram_learns_what_trigrams_can(scripts):
    """On a text of which two tokens fix the third it is nearly sure; on noise it is no better than chance."""
    _, trigram = scripts
    pattern = np.concatenate([[0], np.tile([1, 2, 1, 3], 200)])
    assert trigram.Trigram([pattern], 10).losses(pattern[:100])[5:].mean() < 0.1
    noise = np.random.default_rng(0).integers(1, 50, 5000)
    unseen = np.random.default_rng(1).integers(1, 50, 1000)
    assert trigram.Trigram([noise], 50).losses(unseen).mean() > 3.8
