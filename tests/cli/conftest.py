import pytest

from tests.cli.verbs import run


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """A tape on disk: a tiny random model that read a line and wrote three tokens."""
    path = tmp_path_factory.mktemp("tapes") / "run.tape"
    result = run("record", "def parse(self, text):\n", "-o", path, "-m", "tests.models:tiny", "-g", 3)
    assert result.exit_code == 0, result.output
    return path
