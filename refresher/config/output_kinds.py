"""The kinds of outputs, each described once: its options, and what the rest of the program asks about it.

To add a kind, declare its settings here, append it to `KINDS`, and build its adapter in
`refresher/outputs/__init__.py`. Flags, variables, the JSON Schema, all rules and `check` follow.
"""

from collections.abc import Iterable
from typing import Annotated, NamedTuple

from refresher.config import addresses, kube_metadata, value_types
from refresher.config.addresses import namespaced
from refresher.config.hooks import AFTER, HookSettings
from refresher.config.options import Option
from refresher.config.value_types import duration

LONGEST_LIFETIME = 30 * 86400.0  # seconds, the longest that the API was seen to be asked for
DELAY_OF_SECRETS = 120.0  # seconds: kubelet's sync period and its cache
FORMAT_FLAG = "--format"
KEY_OF_FLAGS = "access-token"  # of a Secret that flags describe

_PROPAGATION_DELAY = duration(0.0, LONGEST_LIFETIME, "0s to less than half of the lifetime")
_TEMPLATE = Option(
    "With format template: the text, in which $access_token and the like are replaced.",
    value_types.TEMPLATE,
    example="token = $access_token",
    only_with=(FORMAT_FLAG, "template"),
    flag="--template",
    group="format",
)

KEEP, DELETE = "keep", "delete"
_ON_REMOVE = Option(
    "When the output is removed from the configuration of a running daemon: keep the token in it, or delete "
    "what the refresher wrote.",
    value_types.choice("value", (KEEP, DELETE), "keep|delete", fold=str.lower),
    example=DELETE,
)


class FileOutputSettings(NamedTuple):
    path: Annotated[  # absolute
        str,
        Option(
            "The file that always holds a valid token.",
            addresses.FILE,
            example="/var/run/inlive/access-token",
            repeated=True,
            key="file",
            flag="--to-file",
            group="output",
        ),
    ]
    format: Annotated[
        str,
        Option(
            "What is written: token, bearer, header, env, json, inlive-sdk, envoy-sds or template.",
            value_types.FORMAT,
            example="json",
            flag=FORMAT_FLAG,
            group="format",
        ),
    ] = "token"
    template: Annotated[str | None, _TEMPLATE] = None
    mode: Annotated[
        int,
        Option(
            "Permissions of the file in octal digits (in YAML: in quotes). 0640 lets its group read it, "
            "and everybody named in a default ACL of the directory.",
            value_types.MODE,
            example="0640",
            flag="--mode",
            group="output",
        ),
    ] = 0o600
    group: Annotated[  # name or number
        str | None,
        Option(
            "Group that owns the file, name or number.",
            value_types.GROUP,
            example="www-data",
            flag="--group",
            group="output",
        ),
    ] = None
    propagation_delay: Annotated[
        float,
        Option(
            "The longest its consumers take to see a new value; the token is replaced that much earlier.",
            _PROPAGATION_DELAY,
            example="30s",
            flag="--propagation-delay",
            group="output",
        ),
    ] = 0.0
    after: Annotated[HookSettings | None, AFTER] = None
    on_remove: Annotated[str, _ON_REMOVE] = KEEP


class SecretOutputSettings(NamedTuple):
    secret: Annotated[  # "NAMESPACE/NAME", or "NAME" in the namespace of the process
        str,
        Option(
            "The Secret that always holds a valid token; without NAMESPACE/ in the refresher's namespace.",
            addresses.SECRET,
            example="studio/inlive-access-token",
            repeated=True,
            flag="--to-secret",
            group="output",
        ),
    ]
    data: Annotated[  # key and format
        tuple[tuple[str, str], ...],
        Option(
            "What is written: keys of the Secret, each with the format of its value.",
            addresses.DATA,
            example={"access-token": "token", "auth.json": "inlive-sdk"},
            flag=FORMAT_FLAG,
            from_flag=lambda format_: ((KEY_OF_FLAGS, format_),),
            flag_note=f"In a Secret its key is {KEY_OF_FLAGS}.",
        ),
    ] = ((KEY_OF_FLAGS, "token"),)
    template: Annotated[str | None, _TEMPLATE] = None
    propagation_delay: Annotated[
        float,
        Option(
            "The longest its consumers take to see a new value: 2m covers the time a kubelet takes to mount "
            "it.",
            _PROPAGATION_DELAY,
            example="30s",
            flag="--propagation-delay",
            flag_note=f"Of a Secret: {_PROPAGATION_DELAY.show(DELAY_OF_SECRETS)}.",
        ),
    ] = DELAY_OF_SECRETS
    after: Annotated[HookSettings | None, AFTER] = None
    on_remove: Annotated[str, _ON_REMOVE] = KEEP
    labels: Annotated[
        addresses.Pairs,
        Option(
            "Labels of the Secret, beside the refresher's own. One that was changed is put right.",
            kube_metadata.LABELS,
            example={"team": "studio"},
        ),
    ] = ()
    annotations: Annotated[
        addresses.Pairs,
        Option(
            "Annotations of the Secret, beside the refresher's own. One that was changed is put right.",
            kube_metadata.ANNOTATIONS,
            example={"example.com/contact": "studio@example.com"},
        ),
    ] = ()


OutputSettings = FileOutputSettings | SecretOutputSettings


class OutputKind(NamedTuple):
    """What rules, commands and wiring ask about a kind, so that they need not name its settings."""

    settings: type
    noun: str  # in messages
    is_file: bool = False  # The target is a path on this machine, with a record beside it.
    in_cluster: bool = False  # The target is a Secret in Kubernetes, [NAMESPACE/]NAME.
    delay_hint: str = ""  # in messages: when the propagation delay is shorter than the default


KINDS = (
    OutputKind(FileOutputSettings, "file", is_file=True),
    OutputKind(SecretOutputSettings, "Secret", in_cluster=True, delay_hint=": 0s if they ask the API server"),
)
SECTIONS = tuple(kind.settings for kind in KINDS)
PRINTED = FileOutputSettings  # a command that prints a token takes format and template from these options
_BY_SETTINGS = {kind.settings: kind for kind in KINDS}


def kind_of(settings: type) -> OutputKind:
    """The kind with these settings."""
    return _BY_SETTINGS[settings]


def secret_names(outputs: Iterable[OutputSettings], home: str) -> list[tuple[str, str]]:
    """Namespace and name of each Secret among `outputs`; `home` is the default namespace."""
    return [namespaced(output[0], home) for output in outputs if kind_of(type(output)).in_cluster]


# What file outputs write beside their target (see `refresher.outputs.file` and `.directories`)

LOCK_FILE = ".token-refresher.lock"  # in each directory with outputs


def hook_owed_path(target: str) -> str:
    """The file beside the file `target` that exists while its hook is owed."""
    directory, _, name = target.rpartition("/")
    return f"{directory}/.{name}.hook-owed"


def refresh_path(target: str) -> str:
    """The file beside the file `target` that requests a new token."""
    directory, _, name = target.rpartition("/")
    return f"{directory}/.{name}.refresh"


def record_path(target: str) -> str:
    """The record beside the file `target`."""
    directory, _, name = target.rpartition("/")
    return f"{directory}/.{name}.meta.json"
