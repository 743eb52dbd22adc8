"""Doing things, durably: the job queue, the worker and how an attempt's end is judged.

queue     rows of `job`: insert, begin, settle, park, wake
outcome   how an attempt can end
retry     error → outcome, pure
worker    begin → perform → advance, for every job
"""
