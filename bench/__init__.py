"""Side-by-side measurements: Tallycast and what a user would pick instead, in one run, on one machine.

``make bench``, or ``python -m bench --help``. Every figure compares CPU or memory of server processes, as the
operating system accounts for them, under the same load from the same program; contenders alternate, and a
figure is the median of its rounds with the least and the greatest. What it takes from the server is the
public contract, and which of its processes is which.

The way of a measurement, downwards only::

    __main__    the command line
    report/     what is shown: table, chart, JSON        (knows results, not how they came about)
    runner      rounds, alternation, set-ups side by side
    figures/    what is measured, one file each          (knows contenders and the load, not one another)
    contenders/ who is measured, one file each           (knows nothing but how to be started and asked)
    load        the load program; usage: CPU and memory of processes; stats: ratios and budgets, pure
"""
