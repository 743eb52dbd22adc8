"""Templates that want to eat the machine: a corpus, and a generator of more."""

# ruff: noqa: UP031 -- templates are made of braces already

from __future__ import annotations

from random import Random
from typing import Any

BIG = "ab<&\\'{%\U0001f600" * 20_000
NAMES: dict[str, Any] = {
    "trigger": {
        "big": BIG,
        "body": "x" * 10_000_000,
        "title": "Hello",
        "n": 7,
        "huge": 10**300,
        "list": list(range(100_000)),
        "texts": ["abc" * 10] * 20_000,
        "rows": [{"a": i, "b": f"name {i}", "c": [i]} for i in range(20_000)],
        "o": {f"k{i}": i for i in range(20_000)},
        "tags": "<" * 300_000,
        "open": "<!--" * 100_000,
        "amps": "&" * 300_000,
        "entities": "&notanentityatall;" * 20_000,
        "commas": "a1," * 200_000,
        "json": "[" + "{}," * 80_000 + "0]",
        "deepjson": "[" * 100_000,
        "brackets": "[" * 60_000,
        "stars": "*a_" * 20_000,
        "links": "[a](" * 15_000,
        "quotes": "> " * 30_000,
        "ticks": "`" * 30_000 + "a",
        "tables": "|a" * 20_000 + "\n" + "|-" * 20_000,
        "aaa": "a" * 50_000 + "!",
        "spaces": " " * 300_000,
        "ws": "word " * 60_000,
        "lines": "\n" * 300_000,
    },
    "vars": {},
    "steps": {},
}
_PATTERNS = [
    "(a+)+$", "(a|aa)+$", "(a|a?)+$", "(.*a){20}", "(a*)*b", "([a-z]+)*!!", r"^(\w+\s?)*$", "(?:(?:a{1,50}){1,50}){1,50}",
    "(x+x+)+y", r"(\d+)*\D", "(?=(a+))a*b\\1", "(a?){30}a{30}", "((a{1,1000}){1,1000}){1,1000}", "(?:a+){e<=5}b", "a{,99999}",
    "(" * 300 + "a" + ")" * 300, "[" + "a-z" * 300 + "]+", "(?i)(straße|STRASSE)+$", r"(\X+)+$", "(?r)(a+)+$", r"(?|(a)|(b)|(c)){100}",
    "(?(DEFINE)(?P<q>(a|(?&q))+))(?&q)$", "(?R)?a", "(a(?1)?)*$", ".*.*.*.*.*.*b", "(?s)(.+)+\\1$", "|".join(["a" * 9] * 90),
]  # fmt: skip

CORPUS = [
    "{{ ('a'*1000000000)|length }}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{{ (9**9**7)|string|length }}",
    "{{ 2**10000000 }}",
    "{{ trigger.huge * trigger.huge * trigger.huge }}",
    "{{ 'a'|center(800000000)|length }}",
    "{{ ([0]*300000000)|length }}",
    "{{ range(99999)|map('string')|join('x'*20000)|length }}",
    "{{ '%0900000000d' % 1 }}",
    "{{ '%0900000000d' | format(1) }}",
    "{{ '%.900d' | format(1) }}",
    "{{ '{:>900000000}'.format(1)|length }}",
    "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "{% set ns=namespace(s='aaaaaaaaaa') %}{% for i in range(40) %}{% set ns.s=ns.s~ns.s %}{% endfor %}{{ ns.s|length }}",
    "{% set ns=namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s=[ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
    "{% set ns=namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s=[ns.s, ns.s] %}{% endfor %}{{ ns.s | json }}",
    "{% set ns=namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s=[ns.s, ns.s] %}{% endfor %}{% set t=ns.s %}{{ ns.s == [t[0], [t[0][0], t[0][0]]] }}",
    "{% set ns=namespace(s=[1], t=[1]) %}{% for i in range(60) %}{% set ns.s=[ns.s, ns.s] %}{% set ns.t=[ns.t, ns.t] %}{% endfor %}{{ ns.s == ns.t }}{{ ns.s < ns.t }}{{ ns.s in [ns.t] }}{{ [ns.s, ns.t] | unique | list | length }}",
    "{% set ns=namespace(s=[]) %}{% for i in range(5000) %}{% set ns.s=[ns.s] %}{% endfor %}{{ ns.s }}",
    "{% set ns=namespace(s={}) %}{% for i in range(5000) %}{% set ns.s={'a': ns.s} %}{% endfor %}{{ ns.s | json | length }}",
    "{% set ns=namespace() %}{% set ns.x=ns %}{{ ns.x }}",
    "{% set ns=namespace() %}{% set ns.x=ns %}{{ ns.x | json }}{{ ns == ns.x }}",
    "{{ lipsum(n=3000,html=false,min=500,max=501)|length }}",
    "{{ ('www.'*200000)|urlize|length }}",
    "{{ ('<'*200000)|striptags|length }}",
    "{{ ('a'*3000000)|wordwrap(1)|length }}",
    "{{ ('a b'*100000)|wordwrap(1)|length }}",
    "{{ ('a-'*100000)|wordwrap(2)|length }}",
    "{{ range(99999)|list|tojson(indent=2000)|length }}",
    "{{ trigger.list|tojson(indent=8)|length }}",
    "{{ 'abc'|batch(90000000,'x')|list|length }}",
    "{{ 'abc'|slice(90000000)|list|length }}",
    "{{ 1.5|round(100000000) }}",
    "{{ trigger.body ~ trigger.body ~ trigger.body }}",
    "{{ [trigger.body, trigger.body, trigger.body] }}",
    "{{ [trigger.body] * 10000 | length }}",
    "{{ ([trigger.body] * 10000) | json | length }}",
    "{{ ([trigger.body] * 100000) | join | length }}",
    "{{ trigger.body | upper | lower | upper | length }}",
    "{{ trigger.body | replace('x', 'y' * 1000) | length }}",
    "{{ ('x' * 900000) | replace('', 'y' * 1000) | length }}",
    "{% for i in range(10000) %}{{ 'q' in trigger.body }}{% endfor %}",
    "{% for i in range(10000) %}{{ trigger.body == trigger.body ~ 'x' }}{% endfor %}",
    "{% for i in range(10000) %}{{ trigger.body.count('xx') }}{% endfor %}",
    "{% for i in range(10000) %}{{ trigger.body.find('y') }}{{ trigger.body.rfind('xy') }}{% endfor %}",
    "{% for i in range(10000) %}{{ trigger.body.isalpha() }}{{ trigger.body is lower }}{% endfor %}",
    "{% for i in range(10000) %}{{ trigger.body.index('y') }}{% endfor %}",
    "{% for i in range(10000) %}{{ trigger.body | hash }}{% endfor %}",
    "{% for i in range(10000) %}{{ trigger.body | length }}{% endfor %}",
    "{% for i in range(100) %}{{ trigger.body[:100000] | length }}{% endfor %}",
    "{% for i in range(100) %}{{ trigger.list[1:] | length }}{% endfor %}",
    "{% for i in trigger.list %}{{ 99999 in trigger.list }}{% endfor %}",
    "{% for i in trigger.list %}{{ trigger.list | sort | length }}{% endfor %}",
    "{% for i in range(1000) %}{{ trigger.o | length }}{{ trigger.o.items() | length }}{% endfor %}",
    "{% for i in range(10000) %}{% set x = i %}{{ {'a': x} | json | from_json }}{% endfor %}",
    "{{ trigger.json | from_json | length }}",
    "{% for i in range(100) %}{{ trigger.json | from_json | length }}{% endfor %}",
    "{{ trigger.deepjson | from_json }}",
    "{{ '1' * 5000 | int }}",
    "{{ ('1' * 5000) | int }}",
    "{{ ('9' * 300) | int * ('9' * 300) | int }}",
    "{{ ('1' * 5000) | from_json }}",
    "{{ trigger.commas | split(',') | length }}",
    "{{ trigger.commas.split(',') | map('upper') | list | length }}",
    "{{ trigger.commas.rsplit(',', 3) | length }}",
    "{{ trigger.lines.splitlines() | length }}",
    "{{ trigger.lines | indent(100) | length }}",
    "{{ trigger.ws | title | length }}",
    "{{ trigger.ws | wordcount }}",
    "{{ trigger.spaces | trim | length }}",
    "{{ trigger.texts | unique | list | length }}",
    "{{ trigger.rows | unique(attribute='c') | list | length }}",
    "{{ trigger.rows | groupby('b') | length }}",
    "{{ trigger.rows | sort(attribute='a,b,a,b,a,b,a,b,a,b') | length }}",
    "{{ trigger.rows | map(attribute='c.0.1.2.3.4.5') | list | length }}",
    "{{ trigger.rows | map(attribute='b') | map('upper') | map('slug') | join | length }}",
    "{{ trigger.rows | selectattr('b', 'search', '(.*)*x') | list | length }}",
    "{{ trigger.rows | json | length }}{{ trigger.rows | string | length }}",
    "{{ trigger.o | dictsort | length }}{{ trigger.o | urlencode | length }}",
    "{{ trigger.o | xmlattr | length }}",
    "{{ trigger.tags | html_text | length }}{{ trigger.open | html_text | length }}",
    "{{ trigger.amps | html_text | length }}",
    "{{ trigger.entities | striptags | length }}",
    "{{ trigger.amps | escape | length }}",
    "{{ trigger.big | escape | escape | escape | escape | length }}",
    "{{ trigger.big | b64encode | b64encode | b64encode | length }}",
    "{{ trigger.big | urlencode | urlencode | length }}",
    "{{ trigger.big | json | json | json | json | json | length }}",
    "{{ ('\\u0000' * 900000) | json | length }}",
    "{{ ('\\ufdfa' * 900000) | slug | length }}",
    *("{{ trigger.%s | markdown | length }}" % name for name in ("brackets", "stars", "links", "quotes", "ticks", "tables", "aaa", "ws", "lines", "big")),
    "{{ ('![' * 20000) | markdown | length }}{{ ('<a ' * 20000) | markdown | length }}",
    "{{ ('- ' * 30000) | markdown | length }}",
    "{{ ('1. \\n' * 15000) | markdown | length }}",
    "{{ ('[a]: b\\n' * 8000) | markdown | length }}",
    "{{ ('[a]: <' * 8000) | markdown | length }}",
    "{{ ('a **a ' * 10000) | markdown | length }}",
    "{{ ('[a][' * 10000) | markdown | length }}",
    "{{ ('&#' * 30000) | markdown | length }}",
    "{{ ('~~a' * 15000) | markdown | length }}",
    "{{ ('*' * 60000) | markdown | length }}{{ ('_a' * 30000) | markdown | length }}",
    "{{ ('    a\\n' * 10000) | markdown | length }}",
    "{{ ('|a|b\\n|-|-\\n' * 5000) | markdown | length }}",
    "{{ now | date('%d' * 200) }}{{ 0 | date('%900000d') }}",
    "{{ 'x' | to_time('%d' * 50) }}",
    "{{ ('1' * 190) | to_time('%d%d%d%d%d%d%d%d%d%d%d') }}",
    "{{ ('1h' * 50000) | duration }}",
    "{{ 10 ** 300 | duration }}",
    "{{ [1, 2] | random }}{{ trigger.list | random }}",
    "{{ trigger.list | sum }}{{ trigger.list | max }}{{ trigger.list | min }}{{ trigger.list | reverse | list | length }}",
    "{{ trigger.texts | join(trigger.body) | length }}",
    "{{ trigger.texts | join(', ') | wordwrap(3) | length }}",
    "{{ trigger.title.zfill(10 ** 9) }}{{ trigger.title.ljust(10 ** 9) }}",
    "{{ trigger.title.replace('', 'x' * 900000) }}",
    "{{ 'x'.join(trigger.texts * 100) | length }}",
    "{{ range(10 ** 18) | length }}{{ range(0, 10 ** 9, 1) | length }}",
    "{{ " + "(" * 400 + "1" + ")" * 400 + " }}",
    "{{ " + "[" * 300 + "1" + "]" * 300 + " }}",
    "{{ " + "-" * 3000 + "1 }}",
    "{{ " + "not " * 3000 + "1 }}",
    "{{ 1" + " + 1" * 4000 + " }}",
    "{{ 1" + " | abs" * 4000 + " }}",
    "{{ trigger" + ".a" * 4000 + " }}",
    "{{ 'a'" + " ~ 'a'" * 8000 + " }}",
    "{{ 1" + " if 1 else 1" * 2000 + " }}",
    "{{ 1" + " < 2" * 5000 + " }}",
    "{% if 1 %}" * 1000 + "{% endif %}" * 1000,
    "{% for i in range(9) %}" * 200 + "x" + "{% endfor %}" * 200,
    "{% for i in range(9) %}" * 12 + "x" + "{% endfor %}" * 12,
    "{% set a0 = 'aaaaaaaaaa' %}" + "".join("{%% set a%d = a%d ~ a%d %%}" % (i + 1, i, i) for i in range(60)) + "{{ a60 | length }}",
    "{% set a0 = [1] %}" + "".join("{%% set a%d = a%d + a%d %%}" % (i + 1, i, i) for i in range(60)) + "{{ a60 | length }}",
    "{% set a0 = [1] %}" + "".join("{%% set a%d = [a%d, a%d] %%}" % (i + 1, i, i) for i in range(60)) + "{{ a60 | string | length }}",
    "{% set x %}" + "y" * 60_000 + "{% endset %}" + "{{ x ~ x ~ x ~ x ~ x ~ x ~ x }}" * 100,
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ trigger.__class__.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ self._TemplateReference__context }}",
    "{{ (trigger.title | attr('__class__')) }}",
    "{{ trigger.title.format.__globals__ }}{{ 'x'.format(1) }}{{ 'x'.format_map({}) }}",
    "{{ trigger | map(attribute='__class__') | list }}",
    "{{ [trigger] | map(attribute='__class__.__mro__') | list }}{{ [1] | sort(attribute='__class__') }}",
    "{{ trigger.title.encode() }}{{ trigger.title.translate({}) }}{{ trigger.title.expandtabs(10 ** 9) }}",
    "{% import 'os' as os %}",
    *("{{ trigger.aaa | regex_find('%s') }}" % pattern.replace("\\", "\\\\") for pattern in _PATTERNS),
    *("{{ ('a' * 200000 ~ 'b!') | regex_replace('%s', 'xx') | length }}" % pattern.replace("\\", "\\\\") for pattern in _PATTERNS),
    "{% for i in range(1000) %}{{ trigger.aaa is match('(a+)+$') }}{% endfor %}",
    "{% for i in range(10000) %}{{ 'a' | regex_find('a{%d}' | format(i)) }}{% endfor %}",
    "{{ ('a' * 500000) | regex_replace('a', '\\\\g<0>' * 200) | length }}",
    "{{ ('a' * 500000) | regex_replace('(a*)', '\\\\1\\\\1\\\\1\\\\1') | length }}",
    "{{ ('a' * 100000) | regex_find('a', all=true) | length }}",
    "{{ ('a' * 300000) | regex_find('(?=(a+))', all=true) | length }}",
]  # fmt: skip

_ATOMS = [
    "trigger.big", "trigger.body", "trigger.list", "trigger.texts", "trigger.rows", "trigger.o", "trigger.json", "trigger.commas",
    "trigger.tags", "trigger.aaa", "trigger.ws", "'a' * 1000", "'ab ' * 100000", "range(10000)", "range(99999)", "[1] * 50000",
    "10 ** 70", "-1", "2.5", "none", "true", "'x'", "{'a': [1, 2]}", "trigger", "now", "trigger.nope", "''", "'\\u00e4' * 5000",
]  # fmt: skip
_FILTERS = [
    "upper", "lower", "title", "length", "list", "string", "json", "json | from_json", "sort", "unique | list", "reverse", "join('-')",
    "join", "sum", "first", "last", "min", "max", "batch(3)", "slice(7)", "map('string') | list", "map('upper') | join", "select | list",
    "reject('odd') | list", "map(attribute='b') | list", "groupby('a')", "selectattr('a', 'gt', 5) | list", "escape", "urlencode",
    "striptags", "html_text", "markdown", "wordwrap(20)", "indent(8)", "truncate(50)", "replace('a', 'bbbbbbbb')", "center(9999)", "hash",
    "hmac('k')", "b64encode", "b64decode", "slug", "split", "split(',')", "regex_find('(a+)+$')", "regex_replace('a', 'bb')", "int",
    "float", "abs", "round(3)", "default('x', true)", "dictsort", "items", "wordcount", "xmlattr", "urlize", "filesizeformat", "date",
    "to_time", "duration", "random", "pprint", "tojson(indent=4)", "format(1, 2)", "trim", "capitalize", "count",
]  # fmt: skip
_OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", ">", "in", "not in", "and", "or"]


def expression(random: Random, depth: int = 0) -> str:
    """Return an expression that is large in some way."""
    kind = random.randrange(8 if depth < 4 else 2)
    inner = lambda: expression(random, depth + 1)
    if kind < 2:
        return random.choice(_ATOMS)
    if kind < 5:
        return f"({inner()}) | {random.choice(_FILTERS)}"
    if kind == 5:
        return f"({inner()}) {random.choice(_OPERATORS)} ({inner()})"
    if kind == 6:
        return f"[{inner()}, {inner()}]"
    return f"({inner()})[{random.choice(['0', '-1', '1:', ':5000', '::-1'])}]"


def template(random: Random, depth: int = 0) -> str:
    """Return a template that repeats such expressions."""
    kind = random.randrange(6 if depth < 3 else 3)
    if kind < 3:
        return f"{{{{ {expression(random)} }}}}"
    if kind == 3:
        return f"{{% for i in {expression(random, 3)} %}}{template(random, depth + 1)}{{{{ i }}}}{{% endfor %}}"
    if kind == 4:
        return f"{{% set x = {expression(random)} %}}{{{{ x ~ x }}}}{template(random, depth + 1)}"
    return f"{{% if {expression(random)} %}}{template(random, depth + 1)}{{% else %}}{template(random, depth + 1)}{{% endif %}}"
