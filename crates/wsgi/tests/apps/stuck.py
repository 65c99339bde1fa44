"""Requests that do not end by themselves, in every way a request can be stuck."""

import ctypes
import os
import re
import signal
import socket
import threading
import time

PLAIN = [("Content-Type", "text/plain")]
story = []


def spin_here():
    while True:
        pass


def spin():
    story.append("spin")
    try:
        spin_here()
    except Exception:
        story.append("swallowed")
    finally:
        story.append("finally")


def wait_here():
    while True:
        time.sleep(0.01)


def deaf_here():
    """A lock in C that nobody opens: no signal and no exception gets through."""
    libc = ctypes.CDLL(None)
    lock = ctypes.create_string_buffer(128)
    libc.pthread_mutex_lock(lock)
    libc.pthread_mutex_lock(lock)


def lock():
    held = threading.Lock()
    held.acquire()
    held.acquire()


def receive():
    ours, theirs = socket.socketpair()
    ours.recv(1)


def regex():
    re.match(r"(a*)*b", "a" * 50)


def swallows():
    try:
        spin_here()
    except BaseException as error:
        return "swallowed " + type(error).__name__


def long():
    end = time.monotonic() + 0.7
    while time.monotonic() < end:
        pass
    return "done"


def handles():
    signal.signal(signal.SIGUSR2, lambda *_: story.append("handled"))
    return "ready"


def tells():
    text = " ".join(story)
    story.clear()
    return text


class Blocks:
    def __init__(self, blocks):
        self.blocks = iter(blocks)

    def __iter__(self):
        return self.blocks

    def close(self):
        story.append("closed")


def begun():
    yield b"begun"
    spin_here()


def endless():
    while True:
        yield b"x" * 100_000


calls = {
    "/spin": spin,
    "/waits": wait_here,
    "/sleep": lambda: time.sleep(3600),
    "/lock": lock,
    "/receive": receive,
    "/regex": regex,
    "/swallows": swallows,
    "/deaf": deaf_here,
    "/long": long,
    "/handles": handles,
    "/story": tells,
    "/pid": lambda: str(os.getpid()),
}


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path in ("/midway", "/endless"):
        start_response("200 OK", PLAIN)
        return Blocks(begun() if path == "/midway" else endless())
    answer = calls[path]()
    start_response("200 OK", PLAIN)
    return [answer.encode()]
