"""The errors that stop the machine."""


class UnknownInstruction(NotImplementedError):
    """An instruction, or a form of it, that this machine does not know."""


class Undefined(RuntimeError):
    """A kernel does what a GPU leaves undefined: it may work, today, on this GPU."""


class Race(Undefined):
    """Two threads touch a word, one of them writes, and nothing orders the two."""


class Diverged(Undefined):
    """A branch that threads of a warp take and others do not."""
