"""What every test finds."""

import signal

# A shell that starts something in the background has it ignore SIGINT, and all that this starts in turn.
# What is tested here is started as from a terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
