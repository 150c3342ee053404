import pytest

from refresher.config.loader import load
from refresher.errors import ConfigurationError


@pytest.fixture
def written(tmp_path):
    """Writes a configuration file and returns its path."""

    def write(text, name="refresher.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def loaded(tmp_path, written):
    """Loads a file with a given text. Keyword arguments are flags."""

    def load_text(text, name="refresher.yaml", *, environ=None, **flags):
        written(text, name)
        return load({"config": name, **flags}, environ or {}, str(tmp_path))

    return load_text


@pytest.fixture
def problems(loaded):
    """The problems of a file, as messages."""

    def problems_of(text, name="refresher.yaml", **more):
        with pytest.raises(ConfigurationError) as caught:
            loaded(text, name, **more)
        return [str(problem) for problem in caught.value.problems]

    return problems_of


@pytest.fixture
def loaded_or_problems(loaded):
    """The problems of a file; none if it is accepted."""

    def problems_of(text):
        try:
            loaded(text)
        except ConfigurationError as error:
            return [str(problem) for problem in error.problems]
        return []

    return problems_of
