import dataclasses
import os
import subprocess
import sys

from bt_framework.results.process import ProcessIdentity, this_process

_SAY_WHO = (
    "import sys; from bt_framework.results.process import this_process as t; p = t(); "
    "print(p.host, p.pid, p.started, sep='\\n', flush=True); sys.stdin.read()"
)


def start_child():
    child = subprocess.Popen(
        [sys.executable, "-c", _SAY_WHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    host, pid, started = (child.stdout.readline().strip() for _ in range(3))
    return child, ProcessIdentity(host, int(pid), started)


def test_this_process_is_not_gone():
    assert not this_process().is_gone()
    assert this_process() == this_process()
    assert this_process().pid == os.getpid()


def test_a_process_is_gone_once_it_was_killed_and_even_before_it_was_collected():
    child, identity = start_child()
    assert not identity.is_gone()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, but still in the process table
    assert identity.is_gone()
    child.communicate()
    assert identity.is_gone()


def test_another_process_with_the_same_id_is_not_the_same_process():
    assert dataclasses.replace(this_process(), started="0:1").is_gone()


def test_a_process_on_another_host_is_taken_to_live():
    assert not ProcessIdentity("elsewhere.example", 1, "0:1").is_gone()
