"""Finding, rendering and splitting the files of a checkout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from utils.bqetl.checkout import Checkout, split_statements, statements_marked
from utils.errors import WtmoError

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "sql/moz-fx-data-shared-prod/telemetry_derived/clients_daily_v6"
NAMES = {"project_id": "p", "dataset_id": "d", "table_name": "t"}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / "query.sql").write_text("SELECT 1")
    return Checkout(tmp_path)


def write(checkout: Checkout, name: str, text: str) -> Path:
    path = checkout.root / FOLDER / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "name",
    [
        f"{FOLDER}/query.sql",
        FOLDER,
        f"{FOLDER}/",
        "telemetry_derived.clients_daily_v6",
        "moz-fx-data-shared-prod.telemetry_derived.clients_daily_v6",
    ],
)
def test_a_query_is_found_by_its_file_its_folder_and_its_name(checkout: Checkout, name: str) -> None:
    found = checkout.find(name, ("query.sql",))
    assert checkout.shown(found) == f"{FOLDER}/query.sql"
    folder = checkout.folder(found)
    assert (folder.project, folder.dataset, folder.table) == (
        "moz-fx-data-shared-prod",
        "telemetry_derived",
        "clients_daily_v6",
    )


@pytest.mark.parametrize("name", ["sql/p/d/t/query.sql", "sql/p/d/t", "d.t", "", "../../etc/passwd.sql"])
def test_a_missing_query_names_the_path_looked_for(checkout: Checkout, name: str) -> None:
    with pytest.raises(WtmoError, match="No such file: ") as error:
        checkout.find(name, ("query.sql",))
    assert str(checkout.root) in error.value.what


def test_a_name_in_two_projects_is_not_guessed(checkout: Checkout) -> None:
    twin = checkout.root / "sql/mozdata/telemetry_derived/clients_daily_v6"
    twin.mkdir(parents=True)
    (twin / "query.sql").write_text("SELECT 2")
    name = "telemetry_derived.clients_daily_v6"
    with pytest.raises(WtmoError, match="several projects: moz-fx-data-shared-prod, mozdata"):
        checkout.find(name, ("query.sql",))
    assert checkout.find(name, ("query.sql",), project="mozdata") == twin / "query.sql"


def test_a_folder_without_sql_is_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(WtmoError, match=r"no folder sql/"):
        Checkout(tmp_path)


@pytest.mark.parametrize("text", ["SELECT '}}' -- 100 %\n\n", "SELECT 1", "SELECT 1\r\n", "SELECT {{ '{%' }} 1\n"])
def test_what_is_no_template_is_rendered_as_any_other(checkout: Checkout, text: str) -> None:
    path = write(checkout, "query.sql", text)
    made = checkout.render(path)
    path.write_bytes(text.encode() + b"{# no matter #}")
    assert checkout.render(path) == made


def test_a_query_is_rendered_as_jinja(checkout: Checkout) -> None:
    query = write(
        checkout, "query.sql", "{% if is_init() %}A{% else %}{% for n in [1, 2] %}{{ n }} < '&' {% endfor %}{% endif %}"
    )
    assert checkout.render(query) == "1 < '&' 2 < '&' "


def test_a_query_includes_files_of_its_folder_and_of_the_checkout(checkout: Checkout) -> None:
    write(checkout, "part.sql", "own")
    (checkout.root / "shared.sql").write_text("shared")
    assert (
        checkout.render(write(checkout, "query.sql", "{% include 'part.sql' %} {% include 'shared.sql' %}"))
        == "own shared"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT\n  {{ nothing }}", "query.sql:2: 'nothing' is undefined"),
        ("SELECT\n{% if %}", "query.sql:2: Expected an expression"),
        ("SELECT\n\n{{ metrics.source('a') }}", "query.sql:3: `metrics` is metric-hub, which only the image"),
        ("{% include 'gone.sql' %}", "query.sql: the file it includes does not exist: gone.sql"),
    ],
)
def test_a_template_error_names_file_and_line(checkout: Checkout, text: str, message: str) -> None:
    with pytest.raises(WtmoError) as error:
        checkout.render(write(checkout, "query.sql", text))
    assert message in error.value.what


def test_a_name_that_is_not_defined_prints_nothing_in_a_comment(checkout: Checkout) -> None:
    query = write(checkout, "query.sql", "SELECT --9 days before {{ds}}\n  '-- \\' #' /* {{ a.b }}\n*/, 1 # {{ds}}\n")
    with pytest.raises(WtmoError, match=r"query.sql:2: 'a' is undefined"):
        checkout.render(query)
    query.write_text(query.read_text().replace("a.b", "a"))
    assert checkout.render(query) == "SELECT --9 days before \n  '-- \\' #' /* \n*/, 1 # \n"
    query.write_text("SELECT -- {{ds}}\n '-- {{ds}}'")
    with pytest.raises(WtmoError, match=r"query.sql:1: 'ds' is undefined"):
        checkout.render(query)


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ is_init.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.system('touch ' ~ marker) }}",
        "{{ self._TemplateReference__context.environment.globals }}",
        "{{ ('{0.__class__.__mro__}').format('') }}",
        "{% set f = ''|attr('__class__') %}{{ f.__mro__ }}",
    ],
)
@pytest.mark.parametrize("name", ["query.sql", "checks.sql"])
def test_a_file_can_not_reach_python(checkout: Checkout, name: str, text: str) -> None:
    marker = checkout.root / "ran"
    with pytest.raises(WtmoError, match=rf"{name}:2: .*(unsafe|is undefined|has no attribute)"):
        checkout.render(write(checkout, name, f"SELECT\n{text}"), NAMES | {"marker": str(marker)})
    assert not marker.exists()


def test_a_macro_can_not_reach_python(checkout: Checkout) -> None:
    text = "{{ is_unique._func.__globals__ }}"
    with pytest.raises(WtmoError, match=r"checks.sql:1: .*unsafe"):
        checkout.render(write(checkout, "checks.sql", text), NAMES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n{{ 1 / 0 }}", "query.sql:2: ZeroDivisionError"),
        ("{{ 1 + 'a' }}", "query.sql:1: TypeError"),
        ("{% include 'query.sql' %}", "query.sql:1: RecursionError"),
        ("{% for _ in range(100001) %}{% endfor %}", "query.sql:1: OverflowError"),
    ],
)
def test_what_an_expression_raises_names_file_and_line(checkout: Checkout, text: str, message: str) -> None:
    with pytest.raises(WtmoError) as error:
        checkout.render(write(checkout, "query.sql", text))
    assert message in error.value.what


def test_a_link_out_of_the_checkout_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "checkout" / FOLDER
    folder.mkdir(parents=True)
    secret = tmp_path / "secret.sql"
    secret.write_text("password")
    checkout = Checkout(tmp_path / "checkout")
    (folder / "query.sql").symlink_to(secret)
    (folder / "script.sql").write_text("{% include 'query.sql' %}")
    for name in ("query.sql", "script.sql"):
        with pytest.raises(WtmoError, match="outside of the checkout"):
            checkout.render(folder / name)
    (folder.parent / "linked").symlink_to(tmp_path)
    with pytest.raises(WtmoError, match="outside of the checkout"):
        checkout.render(folder.parent / "linked" / "secret.sql")
    # A checkout that is itself reached by a link, a link within it, and a file that was named outside of it are not.
    (tmp_path / "link").symlink_to(tmp_path / "checkout")
    (folder / "own.sql").write_text("SELECT 1")
    (folder / "other.sql").symlink_to("own.sql")
    assert Checkout(tmp_path / "link").render(tmp_path / "link" / FOLDER / "other.sql") == "SELECT 1"
    assert checkout.render(secret) == "password"


def test_schema_and_metadata_are_read(checkout: Checkout) -> None:
    write(checkout, "metadata.yaml", "friendly_name: Clients\nbigquery:\n  clustering:\n    fields: [a]\n")
    write(checkout, "schema.yaml", "fields:\n- {name: a, type: STRING, description: The a.}\n- {name: b, type: DATE}\n")
    folder = checkout.folder(checkout.root / FOLDER)
    assert folder.metadata["friendly_name"] == "Clients"
    assert [field["name"] for field in folder.schema] == ["a", "b"]
    assert folder.has_descriptions


def test_a_table_without_yaml_has_no_schema(checkout: Checkout) -> None:
    folder = checkout.folder(checkout.root / FOLDER)
    assert (folder.metadata, folder.schema, folder.has_descriptions) == ({}, [], False)


def test_a_description_may_come_from_a_shared_file(checkout: Checkout) -> None:
    (checkout.root / "sql/shared.yaml").write_text("fields:\n- {name: a, description: Shared.}\n")
    tag = "!include-field-description\n    file: sql/shared.yaml\n    field: "
    write(checkout, "schema.yaml", f"fields:\n- name: a\n  type: STRING\n  description: {tag}a\n")
    assert checkout.folder(checkout.root / FOLDER).schema[0]["description"] == "Shared."
    write(checkout, "schema.yaml", f"fields:\n- name: b\n  type: STRING\n  description: {tag}b\n")
    with pytest.raises(WtmoError, match=r"schema.yaml:4: sql/shared.yaml has no field b"):
        _ = checkout.folder(checkout.root / FOLDER).schema


@pytest.mark.parametrize("text", ["a: [", "- just\n- a list", "fields: !include-fields {}\n"])
def test_yaml_that_can_not_be_used_names_the_file(checkout: Checkout, text: str) -> None:
    write(checkout, "schema.yaml", text)
    with pytest.raises(WtmoError, match=r"schema.yaml"):
        _ = checkout.folder(checkout.root / FOLDER).schema


def test_statements_are_split_outside_of_strings_comments_and_quoted_names() -> None:
    statements = [
        "SELECT 'a;b', \"c;'d\", r'\\';', '''e';'f'''\n-- not; here\n# nor; \"here\nFROM `a;b`;",
        "/* and ; not\n here */ SELECT 'it''s', b'''x\\''';'''",
    ]
    assert split_statements("\n".join(statements)) == statements


def test_what_holds_only_comments_is_no_statement() -> None:
    assert split_statements("SELECT 1;\n-- the end;\n ; # done") == ["SELECT 1;"]


def test_statements_are_chosen_by_their_marker() -> None:
    sql = "#fail\nSELECT 1;\n\n#WARN\n-- why\nSELECT 2;\n-- #fail\nSELECT 3;\n#failure\nSELECT 4;\nSELECT 5"
    assert statements_marked(sql, "fail") == ["#fail\nSELECT 1;", "-- #fail\nSELECT 3;"]
    assert statements_marked(sql, "warn") == ["#WARN\n-- why\nSELECT 2;"]
    assert statements_marked(sql, "w.rn") == []


@pytest.mark.parametrize(
    "call",
    [
        "not_null(['a', 'b'])",
        "not_null('a', 'x > 1')",
        "in_range(['a'], 0, none)",
        "in_range('a', none, 9, 'x > 1')",
        "in_range('a', 0, 9)",
        "is_unique('a')",
        "is_unique(['a', 'b'], where='x > 1')",
        "min_row_count()",
        "min_row_count(10, 'x > 1')",
        "value_length('a', expected_length=2)",
        "accepted_values('a', ['x', 'it\\'s'])",
        "matches_pattern(column='a', pattern='^\\\\d$', threshold_fail_percentage=5, message='no')",
        "row_count_within_past_partitions_avg(7, 10)",
        "revenue_period_over_period_change('a', 'month', 0.1, ['c'], 'TRUE')",
    ],
)
def test_each_check_is_one_statement_on_its_table(checkout: Checkout, call: str) -> None:
    rendered = checkout.render(write(checkout, "checks.sql", f"#fail\n{{{{ {call} }}}}"), NAMES)
    (statement,) = split_statements(rendered)
    assert "ERROR(" in statement
    assert "`p.d.t`" in statement
    assert ("x > 1" in statement) == ("x > 1" in call)


def test_an_unknown_check_is_named_with_its_line(checkout: Checkout) -> None:
    checks = write(checkout, "checks.sql", "#fail\n{{ is_uniqe('a') }}")
    with pytest.raises(WtmoError, match=r"checks.sql:2: 'is_uniqe' is undefined"):
        checkout.render(checks, NAMES)
