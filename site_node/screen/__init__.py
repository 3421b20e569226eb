"""Screen: which studies meet the programme's criteria, decided on the originals before anything is changed.

`decide.screen` takes a received study to `Included`, `Review` or `Excluded`; `decide.assess` says what each rule found.
"""
