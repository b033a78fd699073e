# SPDX-License-Identifier: MIT
import os
import tempfile


def test_it_counts_the_lines_of_every_file(example):
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, f"file{i}") for i in range(10)]
        for i, path in enumerate(paths):
            with open(path, "w", encoding="utf-8") as file:
                file.write("line\n" * i * 1000)
        done = example.run(*paths)
    assert done.returncode == 0, done
    assert done.stdout == "".join(f"{p}: {i * 1000}\n" for i, p in enumerate(paths)), done


def test_a_file_that_cannot_be_read_is_reported_and_the_others_are_counted(example):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "file")
        with open(path, "w", encoding="utf-8") as file:
            file.write("a\nb\n")
        done = example.run(os.path.join(folder, "none"), path)
    assert done.returncode == 1, done
    assert done.stdout == f"{path}: 2\n", done
    assert "no such file" in done.stderr, done
