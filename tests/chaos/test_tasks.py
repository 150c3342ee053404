"""Proves that the limit refuses threads, with a process that starts some, started as the chaos test is."""

import json
import subprocess
import sys

import pytest

from tests.commands.daemon import ROOT

TRIES = """
import json, subprocess, sys
from tests.chaos import tasks
from tests.chaos.place import enter_namespace

enter_namespace([sys.executable, *sys.orig_argv[1:]])

STARTS = '''
import sys, threading
for line in sys.stdin:
    try:
        threading.Thread(target=print, args=("started",)).start()
    except RuntimeError as error:
        print(error)
    sys.stdout.flush()
'''

limit = tasks.made()
if limit is None:
    print(json.dumps(None))
    sys.exit()
seen = []
for _ in range(2):  # the second one replaces the first, like a restarted daemon
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", STARTS], stdin=pipe, stdout=pipe, text=True) as process:
        limit.hold(process)
        for change in (lambda: None, limit.refuse, limit.allow, limit.refuse):
            change()
            process.stdin.write("go on\\n")
            process.stdin.flush()
            seen.append(process.stdout.readline().strip())
        process.stdin.close()
limit.allow()
limit.close()
print(json.dumps(seen))
"""


def test_no_thread_is_started_while_threads_are_refused() -> None:
    ran = subprocess.run([sys.executable, "-c", TRIES], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    if seen is None:
        pytest.skip("needs a control group with a pids controller, or not to be root")
    refused = "can't start new thread"
    assert seen == ["started", refused, "started", refused, refused, refused, "started", refused]
