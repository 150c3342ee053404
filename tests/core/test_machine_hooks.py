"""When the hook of an output runs: after each write, until it succeeds, and never for an adoption."""

import pytest

from refresher import exit_codes
from refresher.core.effects import HOOK, Adopt, Inspect, Mint, RunHook, Slot, Wait, Write
from refresher.core.events import (
    Found,
    HookEnded,
    InspectFailed,
    KeyRead,
    Late,
    LeadershipChanged,
    RefreshRequested,
    Stopping,
    WriteFailed,
)
from refresher.core.model import Holding
from refresher.core.notifications import HookFailed, HookRan
from refresher.core.state import HookState, OutputPolicy
from refresher.core.status import HookStatus, status_of
from tests.core.builders import KEY, Driver, held, policy, token

HOOKED = OutputPolicy("file", 0.0, False, has_hook=True)


def driver(*found: Holding, **wants: float) -> Driver:
    return Driver(policy(HOOKED, **wants), *found)


def written(number: int = 1) -> Driver:
    """Has just minted and written its first token."""
    at_start = driver()
    at_start.begin()
    at_start.perform(at_start.minted(token(number)))
    return at_start


def ended(write: int, problem: str | None = None) -> HookEnded:
    return HookEnded("file", write, None if problem else "sent HUP", problem, roll=1.0)


def hook(of: Driver) -> HookState:
    return of.state.output("file").hook


def test_it_runs_once_after_a_write():
    at_work = written()
    assert at_work.steps() == [RunHook("file", 1)]
    assert at_work.observe(ended(1)) == [HookRan("file", "sent HUP")]
    assert at_work.steps() == []
    assert not hook(at_work).is_owed


def test_an_output_without_a_hook_owes_none():
    plain = Driver(policy())
    plain.begin()
    plain.perform(plain.minted(token()))
    assert plain.steps() == []
    assert hook(plain) == HookState()
    assert status_of(plain.state, plain.policy, plain.now).outputs[0].hook is None


def test_it_does_not_run_for_an_adoption():
    restarted = driver(held(token()))
    assert [type(step) for step in restarted.begin()] == [Adopt]
    assert restarted.steps() == []
    assert restarted.state.facts is not None
    assert not hook(restarted).is_owed


def test_it_runs_for_an_adoption_if_a_former_process_left_it_owed():
    restarted = driver()
    restarted.observe(KeyRead(KEY))
    restarted.steps()
    restarted.observe(Found("file", held(token()), hook_owed=True))
    assert RunHook("file", 1) in restarted.steps()


def test_it_runs_after_a_repair_too():
    at_work = written()
    at_work.steps()
    at_work.observe(ended(1))
    at_work.contents["file"] = Holding()
    _, repair = at_work.until(Write)
    assert repair.reason == "repair"
    at_work.perform([repair])
    assert at_work.steps() == [RunHook("file", 2)]


def test_it_runs_after_a_write_whose_answer_was_lost():
    at_work = driver()
    at_work.begin()
    at_work.minted(token())
    at_work.observe(WriteFailed("file", "given up", roll=1.0))
    at_work.observe(Found("file", held(token())))
    assert at_work.steps() == [RunHook("file", 1)]


def test_a_failed_run_is_repeated_within_a_minute_at_most():
    at_work = written()
    waits = []
    for _ in range(12):
        assert RunHook("file", 1) in at_work.steps()
        (failed,) = at_work.observe(ended(1, "no such process"))
        assert isinstance(failed, HookFailed)
        waits.append(failed.wait)
        assert not any(isinstance(step, RunHook) for step in at_work.steps())
        at_work.passes(failed.wait)
    assert waits[:3] == [2.0, 4.0, 8.0]
    assert max(waits) == 60.0
    assert hook(at_work).runs.failures == 12


def test_a_newer_token_replaces_a_pending_run():
    at_work = written()
    at_work.steps()
    at_work.observe(ended(1, "no such process"))
    at_work.observe(RefreshRequested())
    at_work.steps()
    at_work.perform(at_work.minted(token(2)))
    assert at_work.steps() == [RunHook("file", 2)], "at once, and only once"
    at_work.observe(ended(2))
    assert not hook(at_work).is_owed


@pytest.mark.parametrize("problem", [None, "no such process"])
def test_a_write_during_a_run_calls_for_one_more_run_at_once(problem):
    at_work = written()
    at_work.steps()
    at_work.observe(RefreshRequested())
    at_work.steps()
    at_work.perform(at_work.minted(token(2)))
    assert at_work.steps() == []
    at_work.observe(ended(1, problem))
    assert at_work.steps() == [RunHook("file", 2)]


def test_a_run_delays_neither_a_mint_nor_a_write():
    at_work = written()
    assert at_work.steps() == [RunHook("file", 1)]  # it hangs
    at_work.observe(RefreshRequested())
    assert [type(step) for step in at_work.steps()] == [Mint]
    assert [type(step) for step in at_work.minted(token(2))] == [Write]
    assert at_work.state.flight(Slot(HOOK, "file"))


def test_no_run_begins_once_the_process_stops():
    at_work = written()
    at_work.observe(Stopping())
    assert at_work.steps() == []
    assert hook(at_work).is_owed


def test_a_process_that_has_lost_its_leadership_runs_the_hooks_of_its_own_writes():
    at_work = written()
    at_work.observe(LeadershipChanged(leads=False))
    assert RunHook("file", 1) in at_work.steps()


def test_it_stays_owed_while_the_output_is_out_of_sight():
    at_work = written()
    at_work.observe(InspectFailed("file", "away", out_of_sight=True))
    assert at_work.steps() == [RunHook("file", 1)]


def test_a_run_that_succeeds_after_it_was_given_up_is_not_repeated():
    at_work = written()
    at_work.steps()
    at_work.observe(ended(1, "given up"))
    before = at_work.state
    assert at_work.observe(Late(ended(1, "killed"))) == []
    assert at_work.state == before, "its failure is known already"
    at_work.passes(2.0)
    assert RunHook("file", 1) in at_work.steps()
    assert at_work.observe(Late(ended(1))) == [HookRan("file", "sent HUP")]
    at_work.observe(ended(1, "no such process"))
    assert hook(at_work) == HookState(writes=1, settled=1)


def test_an_old_run_that_succeeds_late_settles_no_newer_write():
    at_work = written()
    at_work.steps()
    at_work.observe(ended(1, "given up"))
    at_work.observe(RefreshRequested())
    at_work.steps()
    at_work.perform(at_work.minted(token(2)))
    at_work.observe(Late(ended(1)))
    assert hook(at_work).is_owed
    at_work.steps()
    at_work.observe(ended(2))
    at_work.observe(Late(ended(1)))
    assert not hook(at_work).is_owed


def test_the_wait_for_the_next_run_has_a_name():
    at_work = written()
    at_work.steps()
    at_work.observe(ended(1, "no such process"))
    at_work.perform([step for step in at_work.steps() if isinstance(step, Inspect)])
    assert at_work.wait == Wait(at_work.now.boot + 2.0, "running the hook of file again")


def test_its_failure_shows_in_the_status_and_in_the_exit_code():
    at_work = written()
    assert exit_codes.of_states([at_work.state], at_work.now) == exit_codes.TRY_AGAIN, "it is still owed"
    at_work.steps()
    at_work.observe(ended(1, "no such process"))
    status = status_of(at_work.state, at_work.policy, at_work.now)
    (problem,) = status.problems
    assert problem[:4] == ("hook_failed", "file: hook: no such process", at_work.now.wall, 1)
    of_hook = problem._replace(message="no such process")
    assert status.outputs[0].hook == HookStatus(owed=True, failures=1, problem=of_hook)
    assert status.valid, "the output itself holds a valid token"
    assert exit_codes.of_states([at_work.state], at_work.now) == exit_codes.CANT_CREATE
    at_work.passes(2.0)
    at_work.steps()
    at_work.observe(ended(1))
    assert exit_codes.of_states([at_work.state], at_work.now) == exit_codes.DONE
