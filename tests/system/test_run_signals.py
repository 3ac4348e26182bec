# SPDX-License-Identifier: GPL-2.0-only
"""`shunt run` between a shell and a command: signals, the terminal, job control."""
from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

from netlab import DEADLINE, wait_until
from runners import AS_ROOT, AS_USER, Runner

pytestmark = pytest.mark.usefixtures("binary")


# Whoever traces the command is told of its signals and stops before it.
@pytest.fixture(params=[(AS_ROOT, ""), (AS_USER, ""), (AS_ROOT, "ptrace"), (AS_USER, "ptrace")],
                ids=["root", "user", "root-ptrace", "user-ptrace"])
def runner(module_lab, request) -> Runner:
    who, method = request.param
    made = Runner(module_lab.client, who)
    made.run_words = [made.shunt, "run", *(["--method", method] if method else [])]
    return made


def run_line(runner: Runner) -> str:
    return " ".join(runner.run_words)


# Notes each signal on a line of its own; SIGTERM ends it with code 7.
RECORDER = r"""
import os, signal, sys, time
def note(number, frame):
    os.write(1, b"got %d\n" % number)
    if number == signal.SIGTERM:
        os._exit(7)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT,
               signal.SIGWINCH, signal.SIGCONT, signal.SIGRTMIN + 3):
    signal.signal(number, note)
os.write(1, b"ready %d\n" % os.getpid())
while True:
    time.sleep(60)
"""


class Started:
    """A command under shunt in a process group of its own, with what it prints."""

    def __init__(self, runner: Runner, script: str = RECORDER) -> None:
        self.out = b""
        self.child = subprocess.Popen(
            runner.command([*runner.run_words, "/usr/bin/python3", "-u", "-c", script]),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, process_group=0)
        self.shunt = self.child.pid  # nsenter and setpriv execute in place
        self.command = int(self.wait_for(rb"ready (\d+)\n").group(1))

    def wait_for(self, pattern: bytes) -> re.Match:
        deadline = time.monotonic() + DEADLINE
        while not (found := re.search(pattern, self.out)):
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.child.stdout], [], [], left)[0], \
                f"{pattern} is not in {self.out}"
            data = os.read(self.child.stdout.fileno(), 4096)
            assert data, f"ended; {pattern} is not in {self.out}"
            self.out += data
        return found

    def finish(self) -> int:
        self.out += self.child.stdout.read()
        return self.child.wait(DEADLINE)

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_) -> None:
        self.child.kill()  # takes the command with it
        self.child.wait()
        self.child.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT,
                                    signal.SIGRTMIN + 3])
def test_a_signal_sent_to_shunt_reaches_the_command_once(runner, number):
    with Started(runner) as started:
        os.kill(started.shunt, number)
        started.wait_for(b"got %d\n" % number)
        os.kill(started.shunt, signal.SIGTERM)
        assert started.finish() == 7
        assert started.out.count(b"got %d\n" % number) == 1


def test_a_signal_sent_to_the_group_is_not_doubled(runner):
    with Started(runner) as started:
        for round_number in range(1, 6):
            os.killpg(started.shunt, signal.SIGINT)
            started.wait_for(rb"(got 2\n){%d}" % round_number)
            os.kill(started.shunt, signal.SIGUSR1)  # comes behind a doubled one
            started.wait_for(rb"got 10\n")
            started.out = re.sub(rb"got 10\n", b"", started.out)
        os.killpg(started.shunt, signal.SIGTERM)
        assert started.finish() == 7
        assert started.out.count(b"got 2\n") == 5


def test_killing_shunt_kills_the_command(runner):
    with Started(runner) as started:
        os.kill(started.shunt, signal.SIGKILL)
        wait_until(lambda: not alive(started.command), "the command is gone")
        assert started.finish() == -signal.SIGKILL


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def stopped(pid: int) -> bool:
    """By a signal; `t` is the word for it where the process is traced."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "Tt"


def test_stop_and_continue_are_mirrored(runner):
    with Started(runner) as started:
        for stop in (signal.SIGTSTP, signal.SIGSTOP):
            # Sent to shunt, the first reaches the command, whose stop then stops shunt. The second
            # cannot be caught: it is sent to the command here.
            os.kill(started.shunt if stop == signal.SIGTSTP else started.command, stop)
            wait_until(lambda: stopped(started.shunt) and stopped(started.command), "stopped")
            found, status = os.waitpid(started.shunt, os.WUNTRACED)
            assert found == started.shunt and os.WIFSTOPPED(status)
            assert os.WSTOPSIG(status) == stop
            os.kill(started.shunt, signal.SIGCONT)
            wait_until(lambda: not stopped(started.command), "continued")
            assert not stopped(started.shunt)
        os.kill(started.shunt, signal.SIGTERM)
        assert started.finish() == 7


def test_a_stop_with_a_continue_close_behind_stops_nobody_for_good(runner):
    with Started(runner) as started:
        for _ in range(20):
            os.killpg(started.shunt, signal.SIGTSTP)
            os.killpg(started.shunt, signal.SIGCONT)
            os.kill(started.shunt, signal.SIGUSR1)  # neither is stopped if this comes through
            started.wait_for(rb"got 10\n")
            started.out = b""
        os.kill(started.shunt, signal.SIGTERM)
        assert started.finish() == 7


def test_continuing_the_command_alone_continues_shunt(runner):
    with Started(runner) as started:
        os.kill(started.command, signal.SIGSTOP)
        wait_until(lambda: stopped(started.shunt), "stopped")
        os.kill(started.command, signal.SIGCONT)
        wait_until(lambda: not stopped(started.shunt), "continued")
        os.kill(started.shunt, signal.SIGTERM)
        assert started.finish() == 7


def test_after_a_kill_of_shunt_nothing_stays(runner):
    with Started(runner) as started:
        os.kill(started.shunt, signal.SIGKILL)
        started.finish()
        wait_until(lambda: not [pid for pid in runner.host.processes() if alive(pid)],
                   "everything of shunt's on the host has ended")


class Terminal:
    """A terminal with bash in it, on the host; commands are typed and answers awaited."""

    def __init__(self, runner: Runner) -> None:
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(PS1="prompt> ", TERM="dumb", HISTFILE="")
            command = runner.command(["bash", "--norc", "--noprofile", "-i"])
            os.execvp(command[0], command)
        self.expect("prompt> ")

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def expect(self, text: str) -> str:
        """What came up to and with `text`; the rest waits for the next call."""
        deadline = time.monotonic() + DEADLINE
        while text not in self.seen:
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self.fd], [], [], left)[0]
            assert ready, f"{text!r} did not come; the screen says:\n{self.seen}"
            self.seen += os.read(self.fd, 4096).decode(errors="replace").replace("\r\n", "\n")
        before, self.seen = self.seen.split(text, 1)
        return before + text

    def ask(self, line: str) -> str:
        """Types a line, and yields what is printed before the next prompt."""
        self.type(line + "\n")
        self.expect(line + "\n")
        return self.expect("prompt> ").removesuffix("prompt> ")

    def foreground(self) -> int:
        return os.tcgetpgrp(self.fd)

    def foreground_waits(self, name: str) -> bool:
        """Is it a program of that name that has the terminal, and sleeps?"""
        try:
            found = Path(f"/proc/{self.foreground()}/stat").read_text()
        except OSError:
            return False
        return found.split(" ", 1)[1].startswith(f"({name}) S")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_) -> None:
        os.close(self.fd)  # a hang-up
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


# Waits for three interrupts, then for a line. It has no handler: Python runs one that is due right
# before input() waits only after that. What comes twice leaves one pending at the end.
COUNTER = ("import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {2});"
           "print(\"now\");"
           "[(signal.sigwait({2}), print(\"caught\")) for _ in range(3)];"
           "print(input(), \"too many\" if 2 in signal.sigpending() else \"three\")")


def python(runner: Runner, script: str) -> str:
    return f"{run_line(runner)} /usr/bin/python3 -u -c '{script}'"


# Here and below the keys are pressed as soon as the command speaks. It is never a shell with a
# child: dash loses a Ctrl-C, and stays half stopped by a Ctrl-Z, that arrive while it starts one.
def test_control_c_ends_the_command_and_the_shell_goes_on(runner):
    with Terminal(runner) as terminal:
        sleep = ("import time, signal; signal.signal(2, signal.SIG_DFL);"
                 "print(\"now\"); time.sleep(60)")
        terminal.type(python(runner, sleep) + "\n")
        terminal.expect("\nnow\n")
        terminal.type("\x03")
        terminal.expect("prompt> ")
        assert terminal.ask("echo code $?") == "code 130\n"


def test_control_c_reaches_a_command_that_handles_it_once(runner):
    with Terminal(runner) as terminal:
        terminal.type(python(runner, COUNTER) + "\n")
        terminal.expect("\nnow\n")
        for _ in range(3):
            terminal.type("\x03")
            terminal.expect("caught\n")
        terminal.type("end\n")
        assert terminal.expect("prompt> ").endswith("end\nend three\nprompt> ")


def test_control_z_fg_and_bg_work(runner):
    with Terminal(runner) as terminal:
        terminal.type(python(runner, "print(\"now\"); print(\"got\", input())") + "\n")
        terminal.expect("\nnow\n")
        terminal.type("\x1a")
        assert "Stopped" in terminal.expect("prompt> ")
        assert "Stopped" in terminal.ask("jobs")
        terminal.type("fg\n")
        terminal.expect("fg\n")
        terminal.type("line\n")
        terminal.expect("got line\n")
        terminal.expect("prompt> ")
        script = "import time; print(\"again\"); time.sleep(1); print(\"done\")"
        terminal.type(python(runner, script) + "\n")
        terminal.expect("\nagain\n")
        terminal.type("\x1a")
        terminal.expect("prompt> ")
        terminal.type("bg\n")
        terminal.expect("prompt> ")
        terminal.expect("done\n")
        wait_until(lambda: terminal.ask("jobs") in ("", "\n"), "the job is over")


def test_a_background_command_that_reads_the_terminal_is_stopped(runner):
    with Terminal(runner) as terminal:
        terminal.ask(f"{run_line(runner)} cat &")
        wait_until(lambda: "Stopped" in terminal.ask("jobs"), "the job is stopped")
        terminal.type("fg\n")
        terminal.expect(" cat\n")
        terminal.type("hello\n")
        terminal.expect("hello\nhello\n")
        terminal.type("\x04")
        terminal.expect("prompt> ")


def test_a_shell_inside_has_its_own_job_control(runner):
    with Terminal(runner) as terminal:
        terminal.type(f"PS1='inside> ' {run_line(runner)} bash --norc --noprofile -i\n")
        terminal.expect("-i\ninside> ")
        shell = terminal.foreground()
        terminal.type("cat\n")
        wait_until(lambda: terminal.foreground_waits("cat"), "cat has the terminal")
        terminal.type("\x1a")
        assert "Stopped" in terminal.expect("inside> ")
        terminal.type("fg\n")
        wait_until(lambda: terminal.foreground_waits("cat"), "cat has the terminal again")
        terminal.type("\x03")
        terminal.expect("inside> ")
        terminal.type("suspend\n")
        assert "Stopped" in terminal.expect("prompt> ")
        terminal.type("fg\n")
        terminal.expect("-i\n")
        wait_until(lambda: terminal.foreground() == shell, "the shell has the terminal again")
        terminal.type("exit 9\n")
        terminal.expect("prompt> ")
        assert terminal.ask("echo code $?") == "code 9\n"


def test_the_terminals_settings_are_as_before(runner):
    with Terminal(runner) as terminal:
        before = termios.tcgetattr(terminal.fd)
        terminal.ask(f"{run_line(runner)} stty size")
        group = terminal.foreground()
        assert "raw" not in terminal.ask(f"{run_line(runner)} stty")
        assert termios.tcgetattr(terminal.fd) == before
        assert terminal.foreground() == group


def test_a_hang_up_ends_the_command(runner):
    with Terminal(runner) as terminal:
        terminal.type(f"{run_line(runner)} sh -c 'echo pid $$ end; sleep 60'\n")
        terminal.expect("sleep 60'\n")
        pid = int(re.search(r"pid (\d+) end", terminal.expect("end\n")).group(1))
    wait_until(lambda: not alive(pid), "the command has ended")
