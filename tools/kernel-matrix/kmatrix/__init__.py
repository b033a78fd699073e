# SPDX-License-Identifier: MIT
"""The parts of tools/kernel-matrix.

    catalogue   which kernels, from kernels.txt; where things lie
    apt         an apt of our own beside the machine's
    fetch       kernels and cross-compiling packages into the cache
    pack        the initramfs: PID 1, the programs, the list of jobs
    console     what the test machine said, read back
    machine     boot a kernel, run jobs on it, boot again for the rest
    suite       build the static programs, and which jobs a report runs
    verdicts    the JSON of ouro-ktest and `ouro probe`, as the report needs it
    page        docs/KERNELS.md
    heatmap     docs/kernels.svg
    cli         the command line
"""
