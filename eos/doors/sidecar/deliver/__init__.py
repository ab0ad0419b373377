"""Records → the app.

delivery   the handler of the line: which records go when, and what was handled already
requests   a record as a request; an answer as what is to be published
calls      the calls themselves
answers    what an answer means
breaker    whether the app is taken to be away
"""
