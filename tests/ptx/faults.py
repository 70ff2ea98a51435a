"""The errors that stop the machine."""


class UnknownInstruction(NotImplementedError):
    """An instruction, or a form of it, that this machine does not know."""


class Undefined(RuntimeError):
    """A kernel does something that PTX leaves undefined. It may still work on some GPU."""


class Race(Undefined):
    """Two threads access a word, at least one of them writes, and nothing orders the two accesses."""


class Diverged(Undefined):
    """A branch that some threads of a program take and others do not."""
