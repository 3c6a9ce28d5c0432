"""README: the files it names exist and its code runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_every_file_the_readme_names_exists():
    named = set(
        re.findall(r"[`(]((?:jaxforget|experiments|configs|results|tests|docs)/[\w./-]+)", README)
    )
    assert len(named) > 5
    assert not [name for name in named if not (ROOT / name).exists() and not name.endswith(".html")]


@pytest.mark.slow
def test_the_example_of_the_readme_runs(tmp_path):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    residual, ndcg = map(float, done.stdout.split())
    assert residual < 0.02 and ndcg > 0.1
    assert (tmp_path / "model.npz").is_file()
