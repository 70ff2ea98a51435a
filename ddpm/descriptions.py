"""The description in a model file: JSON of a known form, which is checked before it is used.

A form is a type, None, a tuple of alternative forms, [form] for a list of any length, [form, form] for a list of two,
or {key: form} for an object. A key that ends in "?" may be missing, and the key ANY stands for all other keys.
"""

import re
import reprlib
import sys
from typing import Any

TABLE, RUN = "table", "run"  # parts that other modules add to a model file

ANY = "*"
SURROGATE = re.compile("[\ud800-\udfff]")
NAME = (str, int)
SCALAR = (None, bool, float, str)
FLAT = (*SCALAR, [SCALAR])

NETWORK = {
    **{"dim": int, "hidden": [int], "activation?": str, "features?": [float], "preconditioned?": bool},
    **{"shared?": bool, "condition_dim?": int, "dropout?": float},
}
COLUMNS = {"kind": str, "dtypes": [str], "names": (None, [NAME]), "decimals?": [(None, int)]}
FORM = {
    **{"version": int, "network": NETWORK, "frozen?": [str], "schedule": str},
    **{"seed": int, "iteration": int, "best_loss?": (None, float)},
    f"{TABLE}?": {
        **{"params": {"random_state": FLAT, ANY: FLAT}, "scaling": (None, str), "whiten": bool},
        **{"table": COLUMNS, "classes": (None, [SCALAR]), "columns?": (None, [[NAME], (None, int)])},
    },
    f"{RUN}?": {"begin": str, "identity": {"steps": int, ANY: (*FLAT, {ANY: FLAT})}, "validated": {ANY: float}},
}
SAID: dict[Any, str] = {
    None: "null",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}


def version(description: Any) -> int:
    """Return the format version of a description; nothing else is checked.

    Raises:
        ValueError: the description has no version.
    """
    _check("description", description, {"version": int, ANY: object})
    found: int = description["version"]
    return found


def check(description: dict[str, Any]) -> None:
    """Raise ValueError unless a description has the form that is written now, or was written by an earlier version."""
    _check("description", description, FORM)


def _check(name: str, value: Any, form: Any) -> None:
    forms = form if isinstance(form, tuple) else (form,)
    found = next((each for each in forms if _is(value, each)), ...)
    if found is ...:
        raise ValueError(f"{name} must be {' or '.join(map(_said, forms))}; got {reprlib.repr(value)}")
    if isinstance(found, dict):
        _check_object(name, value, found)
    elif isinstance(found, list):
        if len(found) > 1 and len(value) != len(found):
            raise ValueError(f"{name} must have {len(found)} entries; got {len(value)}")
        for i, each in enumerate(value):
            _check(f"{name}[{i}]", each, found[i % len(found)])


def _check_object(name: str, value: dict[str, Any], form: dict[str, Any]) -> None:
    forms = {key.removesuffix("?"): of for key, of in form.items()}
    for key in form:
        if key != ANY and not key.endswith("?") and key not in value:
            raise ValueError(f"{name} has no {key}")
    for key, each in value.items():
        if key not in forms and ANY not in forms:
            raise ValueError(f"{name} has an entry {reprlib.repr(key)}, which is not known")
        _check(f"{name}.{key}", each, forms.get(key, forms.get(ANY)))


def _is(value: Any, form: Any) -> bool:
    """Return whether a value has the type that a form asks for; the contents of lists and objects are not checked."""
    if isinstance(form, dict | list):
        return isinstance(value, type(form))
    if form is float:
        return type(value) is float or (type(value) is int and abs(value) <= sys.float_info.max)
    if form is str:  # without half a surrogate pair, which JSON allows
        return type(value) is str and SURROGATE.search(value) is None
    return value is None if form is None else type(value) is form or form is object


def _said(form: Any) -> str:
    return SAID[type(form) if isinstance(form, dict | list) else form]
