"""When the hook of an output runs: after each write, until it succeeds; never for an adoption.

A write counts in `HookState.writes`, and a run names the write that it follows. So a write during a run calls
for one more run, and a write during a back-off replaces the run that was still owed.
"""

from collections.abc import Iterator

from refresher.core import backoff
from refresher.core.effects import RunHook, Wait
from refresher.core.events import HookEnded
from refresher.core.instant import Instant
from refresher.core.mints import Observed
from refresher.core.notifications import HookFailed, HookRan
from refresher.core.state import NO_FAILURES, State, TokenPolicy

RUN_TIMEOUT = 30.0  # seconds that one run may take


def due(state: State, policy: TokenPolicy, now: Instant) -> Iterator[RunHook | Wait]:
    """The hooks that are owed. A process that has lost its leadership still runs those of its own writes: the
    next leader finds the token, adopts it, and runs none."""
    for output in state.outputs:
        hook = output.hook
        run = RunHook(output.name, hook.writes)
        if not hook.is_owed or state.flight(run.slot) or not policy.has_hook(output.name):
            continue
        if now.boot >= hook.runs.next_try:
            yield run
        else:
            yield Wait(hook.runs.next_try, f"running the hook of {output.name} again")


def ended(state: State, event: HookEnded, now: Instant) -> Observed:
    """A run has ended. After a newer write, a failure of an older run delays nothing."""
    output = state.output(event.output)
    hook = output.hook
    if event.problem is None:
        after = hook._replace(settled=max(event.write, hook.settled), runs=NO_FAILURES)
        return state.with_output(output._replace(hook=after)), (HookRan(output.name, event.did or ""),)
    wait = 0.0
    if event.write == hook.writes and hook.is_owed:
        wait = backoff.hook_wait(hook.runs.failures + 1, event.roll)
        hook = hook._replace(runs=hook.runs.failed(event.problem, now.boot + wait, now.boot))
    failed = HookFailed(output.name, event.problem, wait, hook.runs.series)
    return state.with_output(output._replace(hook=hook)), (failed,)
