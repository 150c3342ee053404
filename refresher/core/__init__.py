"""The rules of the refresher. No I/O, no clock, no dice: time and chance are arguments.

Theory of operation
===================

One token is one state machine. Two functions in `machine` are its whole interface::

    next_step(state, policy, now)       -> Step                     what to do now, or until when to wait
    observe(state, policy, event, now)  -> State, notifications     what an event changes, and what to report

The driver (the engine, or the simulator) repeats this for each token::

    while the step is not a Wait:
        observe that it has Started
        begin the effect on some thread
    wait for the alarm of the Wait, or for an event; observe the event

A **State** is a frozen value with three independent parts. No field names "the state" of a part. Each part's
state follows from facts, so two fields cannot disagree.

*The token in hand* (`State.facts`, `State.token`)::

    ┌──────────┐  an output holds a valid token: Adopt   ┌─────────┐
    │ no token │ ──────────────────────────────────────► │ in hand │
    └──────────┘                                         └─────────┘
         │                                                 ▲     │
         │ Mint (first)                                    │     │ Mint (due: core/schedule.py,
         ▼                                                 │     ▼  or asked for, or a new key)
    ┌─────────────────┐  Minted                  ┌─────────┴──────────┐
    │ mint in flight  │ ───────────────────────► │ on trial: Verify   │  only with issuer.verify,
    └─────────────────┘                          └────────────────────┘  else in hand at once
         │ MintFailed                                    │ Verified: rejected
         └──────────────► Retry (core/backoff.py) ◄──────┘
                          the token in hand is kept

*Each output* (`OutputState`)::

        unknown ──Inspect──► Found ──► holds the token in hand ──► inspected every 30 s (*)
                    │           └────► holds another, or nothing ──► Write ──► Written
                    └► InspectFailed: out of sight: keep the last holding; else: it holds nothing

(*) An output whose changes are reported (`Holding.watched`) is inspected every 15 minutes at most, until a
`WatchEnded` reports a change. Then it is inspected 30 s after its last inspection.

*The hook of an output* (`HookState`): each write owes one run. A failed run is a `Retry`. A newer write
replaces a run that is still owed. An adoption owes none.

*Leadership* (`State.leads`): a process that does not lead inspects and adopts. It mints and writes nothing.

Rules that hold throughout
--------------------------
1. The machine waits until every output was inspected, or has had `STALLED` seconds to answer. So a restart
   adopts the published token instead of minting.
2. A slot (the mint, the trial, one output, its hook) has one effect in flight. Slots do not wait for each
   other.
3. A worse value never overwrites a good one. A rejected token is not published, and neither is a token that
   the issuer gave before. An adopted token does not replace a published one that lives longer.
4. Everything that may fail is a `Retry`: failures in a row, when to try next, the last problem.
5. An effect that was given up counts as failed. If it ends after all, that is a `Late` event: the machine
   uses a fresher token, and inspects an output again.
6. A new key is a candidate until the issuer accepts it. The proven key is kept until then.
7. The configuration is a value too. `changes.adapted` adapts a state to a new policy.

Where the rules are
-------------------
`machine`: which step comes first, and which steps wait. `observing`, `mints`, `output_events`: what each
event changes. `hooks`: when the hook of an output runs. `schedule`: when a token is due. `backoff`: how
long to wait. `adoption`, `seal`: which found token is believed. `expiry`: how long a token lives.
`consumers`: how long consumers have a valid token. `election`: who leads. `status`: the public status of a
token. `notifications`: reports to observers.
"""
