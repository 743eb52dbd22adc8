"""Composition: a document becomes a program, an event becomes a run, a run goes step by step.

model      the program: what a valid document means
document   YAML or JSON → program, or every problem with its line
template   the bounded evaluator of expressions
plan       (program, run, job, outcome) → change, pure
store      rows of areas, versions, runs and steps
registry   which areas listen to which subscription
flow       the story: start, perform, advance
"""
