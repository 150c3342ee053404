"""What every test finds."""

import signal

from hypothesis import settings

# A shell that starts something in the background has it ignore SIGINT, and all that this starts in turn.
# What is tested here is started as from a terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no fault of the program: speed is for `make bench`, not for tests.
settings.register_profile("any-speed", deadline=None)
settings.load_profile("any-speed")
