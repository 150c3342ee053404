"""`refresher controller`: serve the `AccessToken` objects of a cluster."""

import argparse

from refresher import cli_options
from refresher.config import flags
from refresher.controller.scope import scope_of

EXAMPLE = """\
  refresher controller --listen :9464 --lease token-refresher
  refresher controller --namespaces studio,lobby --selector tier=production
  refresher controller --all-namespaces

Keys are read from Secrets with the label token-refresher.inlive.app/key=true, in the namespace of the
AccessToken:
  kubectl label secret inlive-application-key token-refresher.inlive.app/key=true
Replace one token now:
  kubectl annotate accesstoken NAME --overwrite token-refresher.inlive.app/refresh="$(date -u +%FT%TZ)"

signals:
  SIGTERM, SIGINT  stop      SIGUSR1  replace every token now (after a leak)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    served = parser.add_argument_group("served objects")
    served.add_argument(
        "--namespaces",
        metavar="NAMESPACE[,…]",
        help="namespaces whose AccessTokens are served. Default: the namespace of this Pod",
    )
    served.add_argument(
        "--all-namespaces",
        action="store_true",
        help="serve every namespace of the cluster; needs a ClusterRole",
    )
    served.add_argument(
        "--selector", metavar="LABELS", help="serve only AccessTokens with these labels, as for kubectl get"
    )
    flags.add_flags(parser, ("issuer", "listen", "election", "log"))


def run(arguments: argparse.Namespace) -> int:
    settings = cli_options.loaded(arguments, command="controller", needs=()).settings
    scope = scope_of(arguments.namespaces, arguments.all_namespaces, arguments.selector, "default")
    raise NotImplementedError(settings, scope)
