import pytest

from refresher.config.loader import load
from refresher.errors import ConfigurationError


@pytest.fixture
def written(tmp_path):
    """Writes a configuration file; its path."""

    def write(text, name="refresher.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def loaded(tmp_path, written):
    """Loads a file with the text given; flags as keyword arguments."""

    def load_text(text, name="refresher.yaml", *, environ=None, **flags):
        written(text, name)
        return load({"config": name, **flags}, environ or {}, str(tmp_path))

    return load_text


@pytest.fixture
def mistakes(loaded):
    """The mistakes of a file, as they are told."""

    def mistakes_of(text, name="refresher.yaml", **more):
        with pytest.raises(ConfigurationError) as caught:
            loaded(text, name, **more)
        return [str(mistake) for mistake in caught.value.problems]

    return mistakes_of


@pytest.fixture
def loaded_or_mistakes(loaded):
    """The mistakes of a file; none for one that is accepted."""

    def mistakes_of(text):
        try:
            loaded(text)
        except ConfigurationError as error:
            return [str(mistake) for mistake in error.problems]
        return []

    return mistakes_of
