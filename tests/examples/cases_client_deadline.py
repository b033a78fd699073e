# SPDX-License-Identifier: MIT
from example import listening, receive_all
import threading


def answer(listener, text):
    peer, _ = listener.accept()
    with peer:
        peer.sendall(text + receive_all(peer))


def test_it_prints_the_answer(example):
    with listening() as (listener, address):
        thread = threading.Thread(target=answer, args=(listener, b"you said: "))
        thread.start()
        done = example.run(address, "10", "hello")
        thread.join()
    assert (done.returncode, done.stdout) == (0, "you said: hello"), done


def test_a_server_that_says_nothing_is_given_up(example):
    with listening() as (_, address):
        done = example.run(address, "0.1", "hello")
    assert done.returncode == 1, done
    assert done.stderr == "client_deadline: no answer within 0.1 s\n", done


def test_wrong_arguments_are_an_error(example):
    assert example.run().returncode == 2
    done = example.run("nonsense", "1", "hello")
    assert done.returncode == 1 and done.stderr.startswith("client_deadline: "), done
