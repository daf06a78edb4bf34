"""Benchmarks: Tallycast side by side with what a user would pick instead, in one run on one machine.

``make bench``, or ``python -m bench --help``. Every figure compares CPU time or memory of server processes,
as the operating system accounts for them, under the same load from the same generator; contenders alternate,
and a figure is the median of its rounds with the least and the greatest. It depends on the server's public
contract, and on which of its processes is which.

Imports point down only::

    __main__    the command line
    report/     table, chart and JSON of results         (does not depend on how they were measured)
    compare     this tree and another revision as contenders
    runner      rounds, alternation, concurrent set-ups
    figures/    what is measured, one module each        (do not depend on one another)
    contenders/ the servers measured, one module each
    harness/    the CPU time and memory of ``tallycast load``
    load/       the load generator, in C, and its client
    programs    compiles C; usage: CPU and memory of processes; stats: ratios and budgets, pure
"""
