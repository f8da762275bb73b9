"""What compile_for.py compiles ahead of time for a device that is absent, and reads in the result.

`program` builds the project's own programs and compiles them, in a process of its own (`child`).
The rest needs nothing but the compiler's text: `hlo` parses it, `traffic` and `arithmetic` count
bytes and operations of each kernel, `kernels` walks the program, `roofline` says what a device
would need for it at least, `figures` sums up and `report` prints.
"""
