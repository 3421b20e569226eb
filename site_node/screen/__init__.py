"""Screen: which studies meet the programme's criteria, decided on the originals before anything is changed.

`decide.screen` turns a received study into `Included`, `Review` or `Excluded`; `decide.assess` gives every reason.
"""
