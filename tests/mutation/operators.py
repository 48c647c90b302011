"""The small changes that are made to code which verifies, one at a time; a test has to notice each.

A change is an edit of the syntax tree in place, so that a child process which makes it never has to take it back.
What people read in a refusal (the arguments of an error, members called `field`) is left alone: it decides nothing.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_COMPARED: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
#: Of numbers: too small and too large are two mistakes.
_NUMBERS: dict[type, tuple[type, ...]] = {ast.Eq: (ast.LtE, ast.GtE), ast.NotEq: (ast.Lt, ast.Gt)}
_CALCULATED: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.Pow: ast.Mult,
}
_CALLED = {
    "any": "all",
    "all": "any",
    "min": "max",
    "max": "min",
    "sorted": "list",
    "startswith": "endswith",
    "endswith": "startswith",
    "partition": "rpartition",
    "rpartition": "partition",
    "fullmatch": "match",
    "match": "search",
    "issubset": "issuperset",
    "issuperset": "issubset",
}
#: Keywords whose values only people read: by the name of what is called, or of whatever is called.
_WORDS = {"": {"field"}, "Claims": {"at"}, "field": {"repr", "hash", "compare"}}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change.

    Attributes:
        function: qualified name of where it is made; empty at the top of the module.
        line: the source line it begins on, without the space around it.
        operator: what kind of change.
        change: what stood there and what stands there now.
        nth: counts those that are alike in all of the above.
        lineno, first, last: where it begins, and the lines of its statement.
        at_import: it takes effect while the module is imported.
        edit: how it is made.
    """

    function: str
    line: str
    operator: str
    change: str
    nth: int
    lineno: int
    first: int
    last: int
    at_import: bool
    edit: "Edit"

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What names it as long as its line stays as it is."""
        return (self.function, self.line, self.operator, self.change, self.nth)


@dataclass(slots=True)
class Edit:
    """Put `new` in the place of a child of `parent`; an index of None is the field itself."""

    parent: ast.AST
    field: str
    index: int | None
    new: Any

    def make(self) -> Any:
        """Make the change and return what stood there; making it with that undoes it."""
        if self.index is None:
            old = getattr(self.parent, self.field)
            setattr(self.parent, self.field, self.new)
        else:
            children = getattr(self.parent, self.field)
            old, children[self.index] = children[self.index], self.new
        return old


@dataclass(slots=True)
class Place:
    """Where the walk is."""

    function: str
    statement: ast.stmt
    at_import: bool
    rebound: frozenset[str]


class Source:
    """A module's tree and its mutants; one of them may be made, once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text()
        self._lines = text.splitlines()
        self.tree = ast.parse(text)
        self._seen: Counter[tuple[str, str, str, str]] = Counter()
        self.mutants: list[Mutant] = []
        for statement in self.tree.body:
            self._statement(statement, self.tree, "body", None, "", at_import=True, rebound=frozenset())

    def compiled(self, mutant: Mutant) -> Any:
        """Make the change and return the module's code. Not to be called twice."""
        mutant.edit.make()
        return compile(ast.fix_missing_locations(self.tree), str(self.path), "exec")

    def difference(self, mutant: Mutant) -> str:
        """Return the changed lines, before and after."""
        before = ast.unparse(ast.fix_missing_locations(self.tree)).splitlines()
        mutant.edit.new = mutant.edit.make()
        after = ast.unparse(ast.fix_missing_locations(self.tree)).splitlines()
        mutant.edit.new = mutant.edit.make()
        gone, come = _unlike(before, after)
        return "\n".join([*(f"- {line}" for line in gone), *(f"+ {line}" for line in come)])

    # -- the walk ------------------------------------------------------------------------------------------------

    def _statement(
        self,
        node: ast.stmt,
        parent: ast.AST,
        field: str,
        index: int | None,
        function: str,
        *,
        at_import: bool,
        rebound: frozenset[str],
    ) -> None:
        if _is_left_alone(node):
            return
        if index is None:
            index = getattr(parent, field).index(node)
        place = Place(function, node, at_import, rebound)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self._definition(node, place)
            return
        for operator, new in _statements(node, place):
            self._add(node, Edit(parent, field, index, new), operator, place)
        for name, value in ast.iter_fields(node):
            if name in {"body", "orelse", "finalbody"}:
                for number, child in enumerate(value):
                    self._statement(child, node, name, number, function, at_import=at_import, rebound=rebound)
            elif name == "handlers":
                for handler in value:
                    self._handler(handler, place)
            elif name == "items":
                for item in value:
                    self._expression(item.context_expr, item, "context_expr", None, place)
            elif name != "annotation":
                self._children(node, name, value, place)

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, place: Place) -> None:
        inner = f"{place.function}.{node.name}" if place.function else node.name
        if isinstance(node, ast.ClassDef):
            rebound, at_import = frozenset[str](), place.at_import
        else:
            here = Place(inner, node, place.at_import, frozenset())
            for number, default in enumerate(node.args.defaults):
                self._expression(default, node.args, "defaults", number, here)
            for number, standard in enumerate(node.args.kw_defaults):
                if standard is not None:
                    self._expression(standard, node.args, "kw_defaults", number, here)
            rebound, at_import = _rebound(node), False
        for number, child in enumerate(node.body):
            self._statement(child, node, "body", number, inner, at_import=at_import, rebound=rebound)

    def _handler(self, handler: ast.ExceptHandler, place: Place) -> None:
        kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else []
        without = [ast.Tuple([kind for kind in kinds if kind is not left], ast.Load()) for left in kinds]
        for new in without or [ast.Tuple([], ast.Load())]:
            self._add(handler, Edit(handler, "type", None, new), "except", place, narrow=True)
        for number, child in enumerate(handler.body):
            self._statement(
                child,
                handler,
                "body",
                number,
                place.function,
                at_import=place.at_import,
                rebound=place.rebound,
            )

    def _children(self, node: ast.AST, name: str, value: Any, place: Place) -> None:
        if isinstance(value, ast.expr):
            self._expression(value, node, name, None, place)
        elif isinstance(value, list):
            for number, child in enumerate(value):
                if isinstance(child, ast.expr):
                    self._expression(child, node, name, number, place)
                elif isinstance(child, ast.comprehension) or (
                    isinstance(child, ast.keyword) and not _is_words(node, child)
                ):
                    self._inner(child, place)

    def _inner(self, child: ast.keyword | ast.comprehension, place: Place) -> None:
        if isinstance(child, ast.keyword):
            self._expression(child.value, child, "value", None, place)
            return
        self._expression(child.iter, child, "iter", None, place)
        for number, test in enumerate(child.ifs):
            for new in (ast.Constant(True), ast.Constant(False)):
                self._add(test, Edit(child, "ifs", number, new), "filter", place)
            self._expression(test, child, "ifs", number, place)

    def _expression(
        self, node: ast.expr, parent: ast.AST, field: str, index: int | None, place: Place
    ) -> None:
        if _is_refusal(node) or (isinstance(place.statement, ast.Raise) and place.statement.exc is node):
            return  # that it is made is tested by leaving the statement out; its words decide nothing
        for operator, new in _expressions(node):
            self._add(node, Edit(parent, field, index, new), operator, place)
        if isinstance(node, ast.Compare):
            self._compared(node, place)
        if isinstance(node, ast.Call):
            for number, argument in enumerate(node.keywords):
                if argument.arg and not _is_words(node, argument):
                    left = [*node.keywords[:number], *node.keywords[number + 1 :]]
                    self._add(argument.value, Edit(node, "keywords", None, left), "argument", place)
        for name, value in ast.iter_fields(node):
            if not (isinstance(node, ast.Lambda) and name == "args") and not _is_codec(node, name):
                self._children(node, name, value, place)

    def _compared(self, node: ast.Compare, place: Place) -> None:
        for number, operator in enumerate(node.ops):
            sides = (node.left, *node.comparators)[number : number + 2]
            more = _NUMBERS.get(type(operator), ()) if any(_is_number(side) for side in sides) else ()
            for new in (*_COMPARED[type(operator)], *more):
                self._add(node, Edit(node, "ops", number, new()), "compare", place)

    def _add(self, node: Any, edit: Edit, operator: str, place: Place, *, narrow: bool = False) -> None:
        changed = edit.parent if isinstance(edit.parent, ast.expr) else node
        before = _spelled(changed if not narrow else node.type)
        edit.new = edit.make()
        after = _spelled(_now(edit, changed))
        edit.new = edit.make()
        line = self._lines[node.lineno - 1].strip()
        like = (place.function, line, operator, f"{before} → {after}")
        first, last = _extent(place.statement)
        self.mutants.append(
            Mutant(*like, self._seen[like], node.lineno, min(first, node.lineno), last, place.at_import, edit)
        )
        self._seen[like] += 1


def _now(edit: Edit, changed: Any) -> Any:
    if isinstance(edit.parent, ast.expr):
        return changed
    children = getattr(edit.parent, edit.field)
    return children if edit.index is None else children[edit.index]


def _spelled(node: Any) -> str:
    """Return a node in one line; of what has a body its head alone."""
    if node is None:
        return ""
    text = ast.unparse(ast.fix_missing_locations(node)).split("\n")
    return text[0] if len(text) > 1 else " ".join(text)


def _extent(statement: ast.stmt) -> tuple[int, int]:
    """Return the lines of a statement, of what has a body those of its head."""
    body = getattr(statement, "body", None)
    last = statement.end_lineno or statement.lineno
    if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
        last = max(statement.lineno, body[0].lineno - 1)
    return statement.lineno, last


def _unlike(before: list[str], after: list[str]) -> tuple[list[str], list[str]]:
    top = 0
    while top < min(len(before), len(after)) and before[top] == after[top]:
        top += 1
    end = 0
    while end < min(len(before), len(after)) - top and before[-1 - end] == after[-1 - end]:
        end += 1
    return before[top : len(before) - end], after[top : len(after) - end]


def _is_left_alone(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Pass | ast.Global | ast.Nonlocal):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True  # documentation, and the dots of a protocol
    if isinstance(node, ast.AnnAssign):
        return node.value is None or "TypeAlias" in ast.unparse(node.annotation)
    names = [ast.unparse(target) for target in node.targets] if isinstance(node, ast.Assign) else []
    # what is for the type checker alone
    typed = isinstance(node, ast.Assign) and ast.unparse(node.value).startswith(("TypeVar(", "Literal["))
    return names in (["__all__"], ["__slots__"]) or typed


def _rebound(function: ast.AST) -> frozenset[str]:
    """Return the names that are bound more than once: leaving one binding out still runs."""
    bound = Counter(
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    bound.update(node.arg for node in ast.walk(function) if isinstance(node, ast.arg))
    return frozenset(name for name, count in bound.items() if count > 1)


def _is_number(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return type(node.value) is int
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in {"len", "int", "min", "max"}
    return isinstance(node, ast.BinOp) and (_is_number(node.left) or _is_number(node.right))


def _statements(node: ast.stmt, place: Place) -> Iterator[tuple[str, ast.stmt]]:
    """Yield what a whole statement may become."""
    match node:
        case ast.Raise() | ast.AugAssign() | ast.Delete() | ast.Break() | ast.Continue():
            yield "left out", ast.Pass()
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield "left out", ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "left out", ast.Pass()
        case ast.Assign() | ast.AnnAssign() if _names(node) & place.rebound:
            yield "left out", ast.Pass()
        case ast.With(items=items) if not any(item.optional_vars for item in items):
            yield "left out", ast.If(ast.Constant(True), node.body, [])
        case ast.Return(value=None):
            yield "left out", ast.Pass()
        case ast.Return(value=ast.Constant(value=None)):
            pass
        case ast.Return(value=value):
            yield "return", ast.Return(ast.Constant(None))
            if isinstance(value, ast.Compare | ast.BoolOp) or _is_negation(value):
                yield "return", ast.Return(ast.Constant(True))
                yield "return", ast.Return(ast.Constant(False))
        case ast.If():
            yield "if", ast.If(ast.Constant(True), node.body, node.orelse)
            if not (len(node.body) == 1 and isinstance(node.body[0], ast.Raise)) or node.orelse:
                yield "if", ast.If(ast.Constant(False), node.body, node.orelse)
        case ast.While():
            yield "loop", ast.While(ast.Constant(False), node.body, node.orelse)
        case ast.For():
            yield "loop", ast.For(node.target, ast.Tuple([], ast.Load()), node.body, node.orelse)
    if isinstance(node, ast.AugAssign) and type(node.op) in _CALCULATED:
        yield "calculate", ast.AugAssign(node.target, _CALCULATED[type(node.op)](), node.value)
    if isinstance(node, ast.Break):
        yield "loop", ast.Continue()
    if isinstance(node, ast.Continue):
        yield "loop", ast.Break()


def _is_refusal(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Error")


def _is_words(node: ast.AST, argument: ast.keyword) -> bool:
    """Say whether an argument is for people: the place that a refusal names, how a record prints."""
    called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
    return argument.arg in _WORDS[""] | _WORDS.get(called, set())


def _is_codec(node: ast.expr, name: str) -> bool:
    """Say whether these are the arguments of `encode` or `decode`: Python takes many spellings for a codec's name."""
    return (
        name == "args"
        and isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"encode", "decode"}
    )


def _names(node: ast.Assign | ast.AnnAssign) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    inner = [one for target in targets for one in ast.walk(target)]
    return {one.id for one in inner if isinstance(one, ast.Name)}


def _is_negation(node: ast.expr | None) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)


def _expressions(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Yield what an expression may become."""
    match node:
        case ast.Constant(value=value):
            for new in _constants(value):
                yield "constant", ast.Constant(new)
        case ast.BoolOp(op=op, values=values):
            yield "and/or", ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            for number in range(len(values)):
                left = [*values[:number], *values[number + 1 :]]
                yield "condition", left[0] if len(left) == 1 else ast.BoolOp(op, left)
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield "sign", operand
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _CALCULATED:
            yield "calculate", ast.BinOp(left, _CALCULATED[type(op)](), right)
        case ast.IfExp(body=body, orelse=orelse):
            yield "choice", body
            yield "choice", orelse
        case ast.Call(func=ast.Name(id=name)) if name in _CALLED:
            yield "call", ast.Call(ast.Name(_CALLED[name], ast.Load()), node.args, node.keywords)
        case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in _CALLED:
            yield "call", ast.Call(ast.Attribute(value, _CALLED[name], ast.Load()), node.args, node.keywords)
        case ast.Call(func=ast.Name(id="isinstance"), args=[what, kinds]):
            for kind in _sides(kinds):
                yield "kind", ast.Call(node.func, [what, kind], [])
    if isinstance(node, ast.Call) and len(node.args) > 1 and not _is_idle(node.args[-1]):
        yield "argument", ast.Call(node.func, node.args[:-1], node.keywords)
    if isinstance(node, ast.Slice):
        if node.lower is not None:
            yield "slice", ast.Slice(None, node.upper, node.step)
        if node.upper is not None:
            yield "slice", ast.Slice(node.lower, None, node.step)


def _is_idle(argument: ast.expr) -> bool:
    """Say whether leaving the last argument out changes nothing: the byte order is the one there is without it."""
    return isinstance(argument, ast.Starred) or (
        isinstance(argument, ast.Constant) and argument.value == "big"
    )


def _sides(kinds: ast.expr) -> list[ast.expr]:
    return [kinds.left, kinds.right] if isinstance(kinds, ast.BinOp) else []


def _constants(value: object) -> tuple[str | bytes | bool | float, ...]:
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (value + 1, value - 1)
    if isinstance(value, float):
        return (value + 1,)
    if isinstance(value, str):
        return (value + "~",)
    if isinstance(value, bytes):
        return (value + b"~",)
    return ()
