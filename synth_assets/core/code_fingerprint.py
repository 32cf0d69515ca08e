"""The hash of code: it changes when behaviour may have changed, and not when somebody reformats or documents.

In: the source of modules, functions and classes, with whatever of their own package they refer to. Out: the
versions of other packages, and data. Source and not bytecode, because that changes with every Python release.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def code_fingerprint(*objects: ModuleType | type | Callable[..., Any]) -> str:
    """Hash (32 hex digits) of the source of modules, functions and classes, in the order given.

    Comments, docstrings, formatting and the annotations of parameters do not count. Constants, helpers and
    base classes do: names that a function or class uses are followed through its module and through
    `from … import …` of the same top-level package. Closures count with what they captured, partials with
    their arguments; that must be code, None, bool, number, string, pattern or a tuple, list or dict of these,
    else TypeError.
    """
    collector = _Collector()
    roots = [collector.add(item) for item in objects]
    payload = json.dumps([roots, sorted(collector.sources.items())])
    return hashlib.blake2b(payload.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class _Collector:
    """Gathers normalised sources by label, each once, and follows names within the top-level package."""

    def __init__(self) -> None:
        self.sources: dict[str, str] = {}
        self._trees: dict[str, ast.Module] = {}

    def add(self, item: Any) -> str:
        """Collect one object with what it refers to; returns its label (of a plain value: the value)."""
        if isinstance(item, ModuleType):
            return self._add_nodes(f"{item.__name__}:", item, [self._tree(item)])
        if isinstance(item, functools.partial):
            return f"partial({self.add(item.func)},{self.add(list(item.args))},{self.add(item.keywords)})"
        if isinstance(item, type):
            return self._add_class(item)
        function = inspect.unwrap(item) if callable(item) else item
        if inspect.ismethod(function):
            function = function.__func__
        if isinstance(function, FunctionType):
            return self._add_function(function)
        if inspect.isbuiltin(function) or inspect.ismethoddescriptor(function):
            return f"builtin {function.__qualname__}"
        return self._value(item)

    def _value(self, value: Any) -> str:
        if value is None or isinstance(value, bool | int | float | str | bytes):
            return repr(value)
        if isinstance(value, re.Pattern):
            return f"re({value.pattern!r},{value.flags})"
        if isinstance(value, list | tuple):
            return f"{type(value).__name__}({','.join(self.add(part) for part in value)})"
        if isinstance(value, dict):
            pairs = sorted((self.add(key), self.add(part)) for key, part in value.items())
            return f"dict({','.join(f'{key}:{part}' for key, part in pairs)})"
        raise TypeError(f"{value!r} has no source to fingerprint; pass a module, class, function or plain value")

    def _tree(self, module: ModuleType) -> ast.Module:
        if module.__name__ not in self._trees:
            self._trees[module.__name__] = _parse(inspect.getsource(module))
        return self._trees[module.__name__]

    def _add_class(self, item: type) -> str:
        label = f"{item.__module__}:{item.__qualname__}"
        module = sys.modules.get(item.__module__)
        if module is None or item.__module__ == "builtins":
            return label
        nodes = _bindings(self._tree(module)).get(item.__qualname__)
        return self._add_nodes(label, module, nodes or [_parse(textwrap.dedent(inspect.getsource(item)))])

    def _add_function(self, function: FunctionType) -> str:
        module = sys.modules[function.__module__]
        label = f"{function.__module__}:{function.__qualname__}"
        if function.__name__ == "<lambda>" or "<locals>" in function.__qualname__:
            captured = {**inspect.getclosurevars(function).nonlocals, **(function.__kwdefaults__ or {})}
            captured.pop(function.__name__, None)  # a closure that calls itself
            label += f"@{self.add(captured)}{self.add(function.__defaults__)}"
            return self._add_nodes(label, module, list(_function_nodes(self._tree(module), function)))
        nodes = _bindings(self._tree(module)).get(function.__qualname__)
        return self._add_nodes(label, module, nodes or list(_function_nodes(self._tree(module), function)))

    def _add_nodes(self, label: str, module: ModuleType, nodes: Sequence[ast.AST]) -> str:
        if not nodes:
            raise TypeError(f"{label} has no source to fingerprint: it was not written in its module's file")
        if label not in self.sources:
            normalised = [_normalised(node) for node in nodes]
            self.sources[label] = "\n".join(part.source for part in normalised)
            for part in normalised:
                for name, attributes in part.names:
                    self._follow_name(module, name, attributes)
        return label

    def _follow_name(self, module: ModuleType, name: str, attributes: tuple[str, ...]) -> None:
        statements = _bindings(self._tree(module)).get(name, ())
        defined = [part for part in statements if not isinstance(part, ast.Import | ast.ImportFrom)]
        if defined:
            self._add_nodes(f"{module.__name__}:{name}", module, defined)
        elif statements:
            value = getattr(module, name, None)
            if isinstance(value, ModuleType):
                if _is_same_package(module, value.__name__):
                    for attribute in attributes:
                        self._follow_name(value, attribute, ())
            else:
                self._follow_import(module, name)

    def _follow_import(self, module: ModuleType, name: str) -> None:
        for statement in _bindings(self._tree(module))[name]:
            if not isinstance(statement, ast.ImportFrom):
                continue
            parent = "." * statement.level + (statement.module or "")
            source = sys.modules.get(_absolute(parent, module))
            original = next((part.name for part in statement.names if (part.asname or part.name) == name), None)
            if source is not None and original is not None and _is_same_package(module, source.__name__):
                self._follow_name(source, original, ())


def _is_same_package(module: ModuleType, other: str) -> bool:
    return module.__name__.partition(".")[0] == other.partition(".")[0]


def _absolute(name: str, module: ModuleType) -> str:
    if not name.startswith("."):
        return name
    package = (module.__package__ or "").split(".")
    level = len(name) - len(name.lstrip("."))
    return ".".join([*package[: len(package) - level + 1], *filter(None, [name.lstrip(".")])])


_parse = functools.lru_cache(maxsize=256)(ast.parse)
"""Keeps the trees, by which what is known of their nodes is cached in turn: assets share most of their code."""


@functools.lru_cache(maxsize=256)
def _bindings(tree: ast.Module) -> dict[str, list[ast.stmt]]:
    """The top-level statements of a module that bind each name."""
    found: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in sorted(set(_bound_names(statement))):
            found.setdefault(name, []).append(statement)
    return found


def _bound_names(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, _Function | ast.ClassDef):
        yield statement.name
        return
    for child in ast.walk(statement):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in child.names)
        elif isinstance(child, _Function | ast.ClassDef):
            yield child.name
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield child.id


def _function_nodes(tree: ast.Module, function: FunctionType) -> Iterator[ast.AST]:
    """The function's definition; all lambdas of its line where it is one."""
    first_line = function.__code__.co_firstlineno
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda):
            if function.__name__ == "<lambda>" and node.lineno == first_line:
                yield node
        elif isinstance(node, _Function) and node.name == function.__code__.co_name:
            start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if start == first_line:
                yield node


@dataclass(frozen=True)
class _Normalised:
    """What counts of a piece of source, and the names it uses, each with the attributes that are taken of it."""

    source: str
    names: tuple[tuple[str, tuple[str, ...]], ...]


@functools.lru_cache(maxsize=4096)
def _normalised(node: ast.AST) -> _Normalised:
    """Without docstrings, other bare strings, and annotations of parameters and results."""
    writer = _Writer()
    writer.write(node)
    sorted_names = tuple((name, tuple(sorted(attributes))) for name, attributes in sorted(writer.names.items()))
    return _Normalised("".join(writer.parts), sorted_names)


_IGNORED_FIELDS: dict[type[ast.AST], frozenset[str]] = {
    ast.arg: frozenset({"annotation", "type_comment"}),
    ast.FunctionDef: frozenset({"returns", "type_comment"}),
    ast.AsyncFunctionDef: frozenset({"returns", "type_comment"}),
    ast.Constant: frozenset({"kind"}),
}


class _Writer:
    """Writes a tree down in one pass. Empty fields are left out, so that a field that a later Python adds changes
    nothing where it is not used; whether a name is read or bound (`ctx`) follows from where it stands."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.names: dict[str, set[str]] = {}

    def write(self, node: Any) -> None:
        if isinstance(node, ast.AST):
            self._write_node(node)
        elif isinstance(node, list):
            self.parts.append("[")
            for part in node:
                self.write(part)
            self.parts.append("]")
        else:
            self.parts.append(f"{node!r},")

    def _write_node(self, node: ast.AST) -> None:
        kind = type(node)
        if kind is ast.Name:
            self.names.setdefault(node.id, set())  # pyright: ignore[reportAttributeAccessIssue]
        elif kind is ast.Attribute and isinstance(node.value, ast.Name):  # pyright: ignore[reportAttributeAccessIssue]
            self.names.setdefault(node.value.id, set()).add(node.attr)  # pyright: ignore[reportAttributeAccessIssue]
        ignored = _IGNORED_FIELDS.get(kind, frozenset())
        self.parts.append(f"{kind.__name__}(")
        for field in node._fields:
            if field in ignored or field == "ctx":
                continue
            value = getattr(node, field, None)
            if isinstance(value, list):
                value = [part for part in value if not _is_bare_text(part)]
                if field == "body" and not value and kind is not ast.Module:
                    value = [ast.Pass()]
            if (value is None and not (kind is ast.Constant and field == "value")) or value == []:
                continue
            self.parts.append(f"{field}=")
            self.write(value)
        self.parts.append(")")


def _is_bare_text(statement: object) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
