"""The examples in the domain's docstrings say what is so."""

import doctest
import importlib
import pkgutil

import pytest

from services.abtest import domain

MODULES = sorted(module.name for module in pkgutil.iter_modules(domain.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_examples_hold(name: str) -> None:
    module = importlib.import_module(f"{domain.__name__}.{name}")
    assert doctest.testmod(module).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    found = [
        name
        for name in MODULES
        if any(each.examples for each in finder.find(importlib.import_module(f"{domain.__name__}.{name}")))
    ]
    assert {"power", "multiplicity", "citations"} <= set(found)
