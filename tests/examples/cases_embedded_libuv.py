# SPDX-License-Identifier: MIT
from example import listening
import threading
import time


def answer(listener, text, delay_s):
    peer, _ = listener.accept()
    with peer:
        line = peer.recv(100)
        time.sleep(delay_s)
        peer.sendall(text + line)


def visited(example, answers):
    """Runs the example against a listener for each (text, seconds until it answers)."""
    with listening() as (one, first), listening() as (two, second):
        threads = [threading.Thread(target=answer, args=(listener, *how))
                   for listener, how in zip((one, two), answers)]
        for thread in threads:
            thread.start()
        done = example.run(first, second)
        for thread in threads:
            thread.join()
        return done, first, second


def test_tasks_talk_in_the_loop(example):
    done, first, second = visited(example, ((b"one: ", 0), (b"two: ", 0)))
    assert done.returncode == 0, done
    assert sorted(done.stdout.splitlines()) == sorted((f"{first}: one: hello",
                                                       f"{second}: two: hello")), done


def test_the_loops_own_timer_goes_on(example):
    done, first, second = visited(example, ((b"one: ", 0), (b"two: ", 1.3)))
    assert done.returncode == 0, done
    assert done.stdout.splitlines() == [f"{first}: one: hello", f"{second}: two: hello"], done
    assert "waiting for 1, 1 s\n" in done.stderr, done


def test_a_failure_is_told_and_the_loop_ends(example):
    with listening() as (listener, address):
        listener.close()
        done = example.run(address)
    assert done.returncode == 1, done
    assert done.stderr.startswith(f"embedded_libuv: {address}: "), done


def test_no_address_is_a_usage_error(example):
    assert example.run().returncode == 2
