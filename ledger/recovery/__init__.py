"""Backup and recovery: sealed copies of the log, apart from its keys, and the way back.

What can be made again is in no backup: read models follow from the log. What must be able to go is
apart: the subjects' keys lie in files of their own that are kept for days only, so that whoever was
erased is nowhere when those are over; who was erased is written beside them at once.
"""
