# SPDX-License-Identifier: MIT
import os
import tempfile


def test_lines_come_as_the_commands_print_them(example):
    with tempfile.TemporaryDirectory() as folder:
        gates = [os.path.join(folder, name) for name in ("first", "second")]
        for gate in gates:
            os.mkfifo(gate)
        commands = [f"echo one; cat {gates[0]}; echo three", f"cat {gates[1]}; echo two", "true"]
        with example.start(*commands) as program:
            assert program.stdout.readline() == "one\n"
            os.close(os.open(gates[1], os.O_WRONLY))  # lets its cat end
            assert program.stdout.readline() == "two\n"
            os.close(os.open(gates[0], os.O_WRONLY))
            assert program.stdout.readline() == "three\n"
            assert program.wait(20) == 0


def test_much_output_is_complete(example):
    done = example.run("yes left | head -100000", "yes right | head -100000")
    lines = done.stdout.split("\n")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) == 100000 * (len("left\n") + len("right\n"))
    assert lines.count("left") > 90000  # pieces of the two may meet inside a line


def test_nothing_to_run_is_nothing_to_wait_for(example):
    assert example.run().returncode == 0
