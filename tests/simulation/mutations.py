"""Plausible bugs, each planted by replacing a piece of the source: the simulator has to find every one."""

from pathlib import Path
from typing import NamedTuple

from tests.simulation.troubles import ONLY_EXCLUSIVE, ONLY_SETS


class Mutation(NamedTuple):
    """`old` stands exactly once in `module`, a path in the package; `new` takes its place. `often`: the kinds
    of trouble that show the bug, drawn more often than others, where too few scenarios would show it."""

    name: str
    module: str
    old: str
    new: str
    often: tuple[str, ...] = ()

    def applied(self, source: str) -> str:
        """Raises ValueError where there is nothing to replace, or more than one such piece."""
        if source.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.module} has {source.count(self.old)} times: {self.old!r}")
        return source.replace(self.old, self.new)

    def plant(self, package: Path) -> None:
        """Into a copy of the package."""
        file = package / self.module
        file.write_text(self.applied(file.read_text()))


MUTATIONS = (
    Mutation(
        "the margin is not clamped to half the lifetime",
        "core/schedule.py",
        "return min(propagation_delay + RETRY_ROOM, lifetime / 2)",
        "return propagation_delay + RETRY_ROOM",
    ),
    Mutation(
        "the propagation delay is forgotten in the margin",
        "core/schedule.py",
        "return min(propagation_delay + RETRY_ROOM, lifetime / 2)",
        "return min(RETRY_ROOM / 10, lifetime / 2)",
    ),
    Mutation(
        "the boot clock is forgotten: age by the wall clock alone",
        "core/instant.py",
        "return by_wall if by_wall > by_boot else by_boot",
        "return now.wall - self.wall",
        often=("wall_clock_jumps",),
    ),
    Mutation(
        "the value goes ahead of the record that describes it",
        "outputs/file.py",
        """                with atomic.replaced(record_path(target), after, wanted):
                    value.put_in_place()
                    found, _ = atomic.read(target, reading.LARGEST_FILE)
""",
        """                value.put_in_place()
                with atomic.replaced(record_path(target), after, wanted):
                    found, _ = atomic.read(target, reading.LARGEST_FILE)
""",
    ),
    Mutation(
        "a file is written in place",
        "outputs/atomic.py",
        "        os.rename(self.temporary, self.name, "
        "src_dir_fd=self.directory, dst_dir_fd=self.directory)\n",
        "        folder = os.readlink(f'/proc/self/fd/{self.directory}')\n"
        "        with open(os.path.join(folder, self.temporary), 'rb') as file:\n"
        "            content = file.read()\n"
        "        path, half = os.path.join(folder, self.name), len(content) // 2\n"
        "        with open(path, 'wb') as file:\n"
        "            file.write(content[:half])\n"
        "        os.chmod(path, os.fstat(self.file).st_mode & 0o7777)\n"
        "        with open(path, 'ab') as file:\n"
        "            file.write(content[half:])\n",
    ),
    Mutation(
        "the old key is dropped when the file changes, not when the new one is proved",
        "core/observing.py",
        "    return state._replace(candidate=Credential(event.key)), (KeyLoaded(fingerprint, changed),)",
        "    state = state._replace(candidate=Credential(event.key), proven=None)\n"
        "    return state, (KeyLoaded(fingerprint, changed),)",
    ),
    Mutation(
        "a changed key waits for the next refresh",
        "core/machine.py",
        "yield state.candidate, candidate_reason, max(state.candidate.retry.next_try, now.boot)",
        "yield state.candidate, candidate_reason, max(state.candidate.retry.next_try, due)",
    ),
    Mutation(
        "an attempt is tried again inside an attempt",
        "executor.py",
        "    result = managed.mint(step.key)\n",
        "    for _ in range(3):\n"
        "        result = managed.mint(step.key)\n"
        "        if not isinstance(result.answer, Declined):\n"
        "            break\n",
    ),
    Mutation(
        "Retry-After is obeyed past the expiry",
        "core/backoff.py",
        "return max(wait, min(asked, max(left / 2, left - LONGEST - budget)))",
        "return max(wait, asked)",
    ),
    Mutation(
        "back-off doubles without an end",
        "core/backoff.py",
        "    longest = min(LONGEST, left / 10) if left > 0 else LONGEST_WITHOUT_TOKEN\n",
        "    longest = 86400.0\n",
    ),
    Mutation(
        "a flat second between attempts",
        "core/backoff.py",
        "    ceiling = min(2.0 ** min(failures, 10), longest)\n",
        "    ceiling = 0.0\n",
    ),
    Mutation(
        "jitter is rolled each time it is asked for",
        "core/schedule.py",
        "    return ldexp(int(token_fingerprint, 16), -4 * len(token_fingerprint))\n",
        "    import random\n\n    return random.random() * 8\n",
    ),
    Mutation(
        "a restart mints without looking at what is there",
        "core/machine.py",
        "    if state.is_minting or (state.facts is not None and not follows):",
        "    if state.is_minting or not follows:",
    ),
    Mutation(
        "of several outputs with a token the one is adopted that seems to last a moment longer",
        "core/adoption.py",
        "if facts.fingerprint == best.fingerprint), key=completeness)",
        "if facts is best), key=completeness)",
        often=("kill_in_a_write",),
    ),
    Mutation(
        "the same token again counts as a new one",
        "core/mints.py",
        "    if _is_known(state, event.token):\n",
        "    if False:\n",
    ),
    Mutation(
        "an altered output is not looked at again",
        "core/machine.py",
        "    soonest = output.inspected_at + INSPECT_EVERY\n",
        "    soonest = output.inspected_at + 100 * INSPECT_EVERY\n",
    ),
    Mutation(
        "a change that is reported is not inspected",
        "core/output_events.py",
        "holding=output.holding._replace(watched=False)",
        "holding=output.holding",
        often=("output_is_deleted", "output_is_altered"),
    ),
    Mutation(
        "a change whose report is missed is never found",
        "core/machine.py",
        "    latest = output.inspected_at + INSPECT_WATCHED * ",
        "    latest = output.inspected_at + 100 * INSPECT_WATCHED * ",
        often=("output_is_deleted", "output_is_altered"),
    ),
    Mutation(
        "a comparison misses a change",
        "outputs/unchanged.py",
        "            return seen.condition != present()\n",
        "            return False and bool(present())\n",
        often=("output_is_deleted", "output_is_altered"),
    ),
    Mutation(
        "a leader is not fenced: it leads on while its Lease may have run out",
        "core/election.py",
        "leading_until=began + self.timing.renew_deadline",
        "leading_until=now + 3 * self.timing.lease_duration",
    ),
    Mutation(
        "a new leader relies on what it knew before",
        "core/observing.py",
        "outputs=outputs, leads=True, leads_since=now.boot, facts=None, token=None, minted_here=False",
        "outputs=outputs, leads=True",
    ),
    Mutation(
        "a free Lease is asked for without a pause while the API server fails",
        "core/election.py",
        "            if now < self.rest_until:\n",
        "            if False:\n",
        often=("api_fault", "lease_is_deleted", "leader_cut_off"),
    ),
    Mutation(
        "a key is told in the log",
        "core/model.py",
        '        return f"<secret {self.fingerprint}>"',
        '        return f"<secret {self._text}>"',
    ),
    Mutation(
        "an output that hangs is never given up",
        "executor.py",
        "    return GIVE_UP\n",
        "    return 1e9\n",
    ),
    Mutation(
        "what was given up is not tried anew",
        "tokens.py",
        "        self._apply(work.token, failure, now, goes_on=goes_on)\n",
        "        del failure, goes_on\n",
    ),
    Mutation(
        "nobody is told that an output hangs",
        "tokens.py",
        "self._apply(work.token, stalled, now, goes_on=False)",
        "stalled",
    ),
    Mutation(
        "threads that were refused are not asked for again",
        "engine.py",
        "refused = self._executor.tend()",
        "refused = None",
    ),
    Mutation(
        "what was given up before a thread was free for it is done all the same",
        "executor.py",
        "Message(work.token, None) if work.given_up else self.perform(managed, work.step)",
        "self.perform(managed, work.step)",
    ),
    Mutation(
        "a key that cannot be read is forgotten",
        "core/observing.py",
        "    return state._replace(key_reads=reads), (KeySourceFailed(event.message, kept, series),)",
        "    state = state._replace(key_reads=reads, proven=None, candidate=None)\n"
        "    return state, (KeySourceFailed(event.message, kept, series),)",
    ),
    Mutation(
        "a rejected token is published",
        "core/mints.py",
        "    if verdict is Verdict.REJECTED:\n",
        "    if False:\n",
    ),
    Mutation(
        "a token that is configured anew does not learn whether this process leads",
        "tokens.py",
        "leads = LeadershipChanged(token.managed.may_act())",
        "leads = LeadershipChanged(leads=False)",
    ),
    Mutation(
        "the key of a token that is configured anew is not read again",
        "keys/poller.py",
        "                    self._last.pop(token, None)\n",
        "                    pass\n",
    ),
    Mutation(
        "what cannot be seen for the moment is gone",
        "core/output_events.py",
        "holding=output.holding if event.out_of_sight else _unreadable(output.holding, policy),",
        "holding=Holding(),",
    ),
    Mutation(
        "a hook runs for an adopted token",
        "core/observing.py",
        "    adopted = refresh_requests.fulfilled(adopted)\n",
        "    adopted = refresh_requests.fulfilled(adopted)\n"
        "    known = adopted.output(output)\n"
        "    adopted = adopted.with_output(known._replace(hook=known.hook.owed_again()))\n",
    ),
    Mutation(
        "a hook that fails is not run again",
        "core/hooks.py",
        "    if event.problem is None:\n",
        "    if True:\n",
    ),
    Mutation(
        "a hook that a killed process owed is forgotten",
        "executor.py",
        "is_owed = hook is not None and hook.is_owed()",
        "is_owed = False",
        often=("kill", "kill_in_a_write"),
    ),
    Mutation(
        "a request at an output is never fulfilled",
        "core/refresh_requests.py",
        "        if requested is None or output.held or requested == output.refresh_fulfilled:\n"
        "            continue\n"
        "        if requested > facts.issued.wall:\n",
        "        if requested is not None:\n",
        often=("refresh_is_requested",),
    ),
    Mutation(
        "a request for a time to come counts at once",
        "core/refresh_requests.py",
        "    return max(pause, now.boot + pending - now.wall)",
        "    return pause",
        often=("refresh_is_requested",),
    ),
    Mutation(
        "a request at an output is not obeyed",
        "core/machine.py",
        "    if (requested := refresh_requests.replaces_at(state, facts, now)) < due:\n",
        "    if (requested := refresh_requests.replaces_at(state, facts, now)) < due and False:\n",
        often=("refresh_is_requested",),
    ),
    Mutation(
        "requests at an output cause a mint each, however soon after the last one",
        "core/refresh_requests.py",
        "    pause = now.boot + schedule.soonest_requested(facts.lifetime) - facts.issued.age(now)\n",
        "    pause = now.boot\n",
        often=("refresh_is_requested",),
    ),
    Mutation(
        "what is under way for a token that is gone counts for the next one of its name",
        "tokens.py",
        "            if work.step.slot in slots:\n",
        "            if False:\n",
        often=ONLY_SETS,
    ),
    Mutation(
        "what was given up for a token that is gone counts for the next one of its name",
        "tokens.py",
        "            if message.work.is_orphan:",
        "            if False:",
        often=ONLY_SETS,
    ),
    Mutation(
        "a token whose key and outputs are others is the same if its name is",
        "ports.py",
        "return self.key is former.key or any(output.name in own for output in former.outputs)",
        "return True",
        often=ONLY_SETS,
    ),
    Mutation(
        "an output that goes is not released",
        "tokens.py",
        "self._executor.release(name, output, lambda: self._wanted)",
        "pass",
        often=ONLY_SETS,
    ),
    Mutation(
        "an output that another token takes over is released",
        "tokens.py",
        "            if output.name not in wanted:\n",
        "            if name not in after or output.name not in wanted:\n",
        often=ONLY_SETS,
    ),
    Mutation(
        "an output is deleted although it is configured again",
        "tokens.py",
        "lambda: self._wanted)",
        "lambda: ())",
        often=ONLY_SETS,
    ),
    Mutation(
        "a token that is gone is woken",
        "tokens.py",
        "        self.alarms.clear(name)\n",
        "",
        often=ONLY_SETS,
    ),
    Mutation(
        "a token that is gone stays in the queues of lanes",
        "tokens.py",
        "        self._lanes.forget(name)\n",
        "",
        often=ONLY_SETS,
    ),
    Mutation(
        "a slot whose part was replaced stays busy",
        "core/changes.py",
        "    state = state.without_flights(replaced)._replace(outputs=outputs)\n",
        "    state = state._replace(outputs=outputs)\n",
        often=ONLY_SETS,
    ),
    Mutation(
        "a token stays in hand although its lifetime was changed",
        "core/changes.py",
        "    if (before.issuer, before.lifetime) != (after.issuer, after.lifetime):\n",
        "    if before.issuer != after.issuer:\n",
        often=ONLY_SETS,
    ),
    Mutation(
        "exclusive: nothing is rehearsed before a mint",
        "core/machine.py",
        "elif before := tuple(exclusive.rehearsals(state, now)) if policy.exclusive else ():",
        "elif before := ():",
        often=ONLY_EXCLUSIVE,
    ),
    Mutation(
        "exclusive: a rehearsal counts for too long",
        "core/exclusive.py",
        "REHEARSAL_LASTS = 10.0 ",
        "REHEARSAL_LASTS = 60.0 ",
        often=ONLY_EXCLUSIVE,
    ),
    Mutation(
        "exclusive: one rehearsed output is enough",
        "core/exclusive.py",
        "    return [output for output in state.outputs if not output.is_without(now)]\n",
        "    return [output for output in state.outputs if not output.is_without(now)][:1]\n",
        often=ONLY_EXCLUSIVE,
    ),
    Mutation(
        "exclusive: an unreadable output has no readers",
        "core/output_events.py",
        "    return known._replace(intact=False) if policy.exclusive and known is not None else Holding()\n",
        "    return Holding()\n",
        often=("output_cannot_be_written", "mint_without_an_output"),
    ),
    Mutation(
        "exclusive: a failed dry run counts as a write whose answer was lost",
        "core/output_events.py",
        "_holds(output.holding) != held == state.facts.fingerprint",
        "held == state.facts.fingerprint",
        often=ONLY_EXCLUSIVE,
    ),
    Mutation(
        "exclusive: jitter makes mints earlier",
        "core/machine.py",
        "    jitter = 0.0 if policy.exclusive else schedule.jitter_of(facts.fingerprint)\n",
        "    jitter = schedule.jitter_of(facts.fingerprint)\n",
        often=ONLY_EXCLUSIVE,
    ),
    Mutation(
        "exclusive: an older token that was found counts as valid",
        "core/exclusive.py",
        "    return Holding(owner=holding.owner) if facts.issued.wall < current.issued.wall else holding\n",
        "    return holding\n",
        often=("shorter_token", "output_is_held"),
    ),
    Mutation(
        "exclusive: a mint goes on while another process leads already",
        "ports.py",
        "            budget = min(budget, self.time_left())\n",
        "            pass\n",
        often=("mint_as_leadership_ends",),
    ),
    Mutation(
        "exclusive: two processes mint for one client",
        "core/machine.py",
        "    if policy.exclusive and exclusive.is_shared(state):\n",
        "    if False:\n",
        often=("output_is_held", "kill"),
    ),
)
