"""The rules that make a comparison fair: settings, arms, tuning, the selection criterion, what each arm is
given.

May import `statistics` and `trials`.
"""
