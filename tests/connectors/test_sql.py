"""What the databases share: statements whose values are bound, and values as JSON."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from areabox.connectors import _sql
from areabox.errors import Permanent


def numbered(name, number):
    return f"${number}"


def bound(sql, dialect="postgres", **values):
    return _sql.bound(dialect, sql, values, numbered)


def test_each_name_is_marked_and_the_same_name_has_the_same_number():
    assert bound("select :a, :b where x > :a", a=1, b=2) == ("select $1, $2 where x > $1", ["a", "b"])


@pytest.mark.parametrize(
    ("dialect", "rest"),
    [
        ("postgres", "select ':a', \":a\", now()::a, a[1:2], $$ :a $$, $x$ :a $$ :a $x$ -- :a"),
        ("postgres", "select E'\\' :a' /* :a */, '''' || ':a'"),
        ("mysql", "select ':a', `:a`, \"\\\":a\" # :a"),
        ("mysql", "select 'it''s \\' :a', @x:=a -- :a"),
        ("sqlite", "select ':a', [:a], `:a`, \"x\"\":a\" -- :a"),
    ],
)
def test_what_is_quoted_cast_or_said_in_passing_is_left_alone(dialect, rest):
    assert bound(f"{rest}\n, :a", dialect, a=1) == (f"{rest}\n, $1", ["a"])


def test_a_name_without_a_value_is_left_to_the_database():
    assert bound("select x[:a]") == ("select x[:a]", [])


def test_a_value_without_a_name_is_a_mistake_that_is_told():
    with pytest.raises(Permanent, match="the statement has no :tile, for which a value is given"):
        bound("select :title", title=1, tile=2)


@pytest.mark.parametrize("name", ['a"b', "a;b", "", "a..b", "a`b", "a.b.c.d", "a\nb", "x" * 65, "a\\b", "a[1]"])
def test_what_is_no_name_never_gets_into_a_statement(name):
    with pytest.raises(ValueError, match="is no name of a table or column"):
        _sql.quoted(name)
    with pytest.raises(Permanent, match="is no name of a table or column"):
        _sql.insertion("reading", {name: 1})


def test_names_are_quoted_with_their_schema():
    assert _sql.quoted("home.reading") == '"home"."reading"'
    assert _sql.quoted("home.reading", "`") == "`home`.`reading`"


def test_inserting_and_changing_are_statements_with_values_beside_them():
    columns = {"name": "lamp", "watts": 7}
    values = {"v0": "lamp", "v1": 7}
    assert _sql.insertion("t", columns) == ('insert into "t" ("name", "watts") values (:v0, :v1)', values)
    assert _sql.insertion("t", columns, ["name"])[0].endswith('on conflict ("name") do update set "watts" = excluded."watts"')
    assert _sql.insertion("t", columns, ["name", "watts"])[0].endswith('on conflict ("name", "watts") do nothing')
    assert _sql.insertion("t", columns, ["name"], "`")[0].endswith("on duplicate key update `watts` = values(`watts`)")
    assert _sql.insertion("t", columns, ["watts", "name"], "`")[0].endswith("on duplicate key update `watts` = `watts`")
    with pytest.raises(Permanent, match="lack id, by which rows are told apart"):
        _sql.insertion("t", columns, ["id"])
    with pytest.raises(Permanent, match="one to 500 columns"):
        _sql.insertion("t", {})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None), (True, True), ("x", "x"), (7, 7), (1 << 70, str(1 << 70)), (1.5, 1.5), (float("nan"), "nan"),
        (Decimal(7), 7), (Decimal("7.50"), 7.5), (Decimal("0.12345678901234567890"), "0.12345678901234567890"),
        (Decimal("NaN"), "NaN"), (b"\x00\xff", "AP8="), (date(2026, 1, 1), "2026-01-01"),
        (datetime(2026, 1, 1, 12, tzinfo=UTC), "2026-01-01T12:00:00Z"), (datetime(2026, 1, 1, 12), "2026-01-01T12:00:00"),
        (datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))), "2026-01-01T12:00:00+02:00"),
        (timedelta(minutes=1.5), 90.0), ([Decimal("1.5"), {"a": b"a"}], [1.5, {"a": "YQ=="}]), ((1,), [1]),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)  # fmt: skip
def test_every_value_has_a_form_in_json(value, shown):
    assert _sql.plain(value) == shown


def test_rows_that_are_too_large_for_a_step_are_refused():
    with pytest.raises(Permanent, match="larger than 2 MiB; ask for fewer rows or columns"):
        _sql.found([{"a": "x" * _sql.BYTES_MAX}], 5)


def test_one_row_more_says_that_there_are_more():
    rows = [{"n": n} for n in range(3)]
    assert _sql.found(rows, 2) == _sql.Rows([{"n": 0}, {"n": 1}], {"n": 0}, 0, 2, True)
    assert _sql.found([], 2) == _sql.Rows([], None, None, 0)
