"""Composition: a document becomes a program, an event becomes a run, a run goes step by step.

The story of a run, top to bottom
    flow         perform a job, write how it ended and what follows
    starting     an event → its runs, in the event's own transaction
    plan, joins  (run, position, outcome) → change, pure
    reacting     one attempt at a reaction
    waiting      waits, questions, calls, digests, once and modes
    ending       what the end of a run sets off
    cancelling   how a run, or a part of it, is called off

What it goes by
    model        the program: what a valid document means
    outline      the program as a map of steps, blocks and frames
    state, view  a run as the planner sees it, and what an expression sees in it
    registry     which areas listen to what, in memory
    live         runs that have work, in memory
    store        rows of runs and their steps; `library` of areas and versions

The language
    document     YAML or JSON → program, or every problem with its line (source, fields, scope, step_*, calls, emit)
    template     the bounded evaluator of expressions (compiler, statements, operators, values, filters*, budget)
    durations    how long, and when; `moments` are times inside expressions
    schema       the JSON Schema of a document
    sealing      how secrets lie in documents

What people do with it
    service      areas: apply, put, switch, versions, export
    runs         start, look, cancel, retry, resolve, answer
    events       what came in, and giving it to areas again
"""
