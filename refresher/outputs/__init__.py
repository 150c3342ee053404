"""Where tokens are published: adapters of `ports.Output`."""

from refresher.config.declarations import FileOutputSettings, OutputSettings
from refresher.ports import Output


def build(settings: OutputSettings, issuer_url: str) -> Output:
    """The output that `settings` describe. `issuer_url` goes into what the JavaScript SDK reads."""
    match settings:
        case FileOutputSettings():
            from refresher.outputs.file import FileOutput  # noqa: PLC0415 - each kind when there is one

            return FileOutput(settings, issuer_url)
