"""Reading films: what a read is, how three of them become a label, and how well readers agree.

`consensus` is the vote as published and `reliability` the agreement among readers; both are pure functions of reads.
"""
