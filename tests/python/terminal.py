"""A person at a terminal: runs a command on a pseudo-terminal of 40 x 100, and follows a script of lines.

usage: terminal.py COMMAND… < SCRIPT
Each line of the script is one of
  send TEXT      types TEXT and Enter
  expect TEXT    waits until TEXT has been printed since the last expect
  size ROWS COLS changes the window's size
At its end the command's exit code is printed, after `exit `. Exits with 1, and with what it saw, if a text does not come.
"""
import fcntl, os, pty, select, signal, struct, sys, termios, time

DEADLINE_S = 60

script = sys.stdin.read().splitlines()
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:])


def size(rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    os.kill(child, signal.SIGWINCH)


def more(deadline):
    """What is printed next; nothing at the end or when the time is over."""
    ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
    try:
        return os.read(terminal, 65536).decode(errors="replace") if ready else ""
    except OSError:  # the other side is closed
        return ""


def fail(why):
    os.kill(child, signal.SIGKILL)
    print(f"{why}; seen:\n{seen}")
    sys.exit(1)


size(40, 100)
seen, at = "", 0
for line in script:
    word, _, rest = line.strip().partition(" ")
    if word == "send":
        os.write(terminal, rest.encode() + b"\r")
    elif word == "size":
        size(*map(int, rest.split()))
    elif word == "expect":
        deadline = time.monotonic() + DEADLINE_S
        while (found := seen.find(rest, at)) < 0:
            piece = more(deadline)
            if not piece:
                fail(f"no {rest!r}")
            seen += piece
        at = found + len(rest)
deadline = time.monotonic() + DEADLINE_S
while piece := more(deadline):
    seen += piece
_, status = os.waitpid(child, 0)
print(seen)
print(f"exit {os.waitstatus_to_exitcode(status)}")
