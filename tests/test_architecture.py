"""Who may import whom, as one table, held by reading every module's source; and the size of modules.

Imports inside functions and under TYPE_CHECKING count. Names are dotted, without the package's own name.
"""

import ast
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "admin_app"
ROOT = Path(__file__).parents[1] / PACKAGE
MAX_LINES = 400

WEB = ("starlette", "sqladmin", "wtforms", "fastapi", "uvicorn", "jinja2")
QUEUE = ("saq", "redis")
SQL = ("sqlalchemy", "asyncpg")
STORAGE = ("obstore", "boto3")
IMAGES = ("PIL",)
COMMAND_LINE = ("typer", "rich")
SESSION = ("sqlalchemy.ext", "sqlalchemy.orm.Session")


class Rule(NamedTuple):
    """These modules may import those of ours, and never these libraries. The first rule that fits counts."""

    modules: str
    may_import: str
    never: tuple[str, ...] = ()


RULES = (
    # What everything stands on: libraries only.
    Rule("config errors text events lifeline session_info", "", (*WEB, *QUEUE, *SQL)),
    Rule("actor", "errors", (*WEB, *QUEUE, *SQL)),
    Rule("pooler", "", (*WEB, *QUEUE)),
    Rule("glances", "errors pooler", (*WEB, *QUEUE)),
    Rule("database", "errors glances pooler", (*WEB, *QUEUE)),
    Rule("filters", "text", (*WEB, *QUEUE)),
    Rule("keyset", "text", (*WEB, *QUEUE)),
    Rule("queue", "", (*WEB, *SQL)),
    Rule("queue_state", "queue", (*WEB, *SQL)),
    Rule("storage", "errors session_info", (*WEB, *QUEUE, *SQL, *IMAGES)),
    Rule("images.conversion", "", (*WEB, *QUEUE, *SQL, *STORAGE)),
    Rule("images.*", "images.containers", (*WEB, *QUEUE, *SQL, *STORAGE, *IMAGES)),
    # Tables and queries of no domain; each other only downwards.
    Rule("audit", "actor database", (*WEB, *QUEUE)),
    Rule("outbox", "actor audit database events", (*WEB, *QUEUE)),
    Rule("search", "database", (*WEB, *QUEUE)),
    Rule("search_index", "database", (*WEB, *QUEUE)),
    Rule("search_postgres", "database search_index", (*WEB, *QUEUE)),
    Rule("search_meilisearch", "errors search_index", (*WEB, *QUEUE)),
    Rule("listing", "database errors filters glances keyset search", (*WEB, *QUEUE)),
    Rule("preferences", "database errors", (*WEB, *QUEUE)),
    Rule("mail", "errors session_info", (*WEB, *QUEUE, *SQL)),
    Rule("submissions", "actor database", (*WEB, *QUEUE)),
    Rule("idempotency", "actor database errors", (*WEB, *QUEUE)),
    Rule("merging", "audit database errors", (*WEB, *QUEUE)),
    Rule("upkeep presence summaries", "database outbox", (*WEB, *QUEUE)),
    # Many rows at once.
    Rule("bulk.models", "database", (*WEB, *QUEUE)),
    Rule("bulk.changes", "actor audit database", (*WEB, *QUEUE)),
    Rule(
        "bulk.*",
        "actor audit database errors exports.exportable filters formula_cells keyset listing search text "
        "bulk.*",
        (*WEB, *QUEUE),
    ),
    # In and out.
    Rule("formula_cells", "", (*WEB, *QUEUE)),
    Rule("exports.models imports.models", "database", (*WEB, *QUEUE)),
    Rule("exports.events imports.events", "events", (*WEB, *QUEUE, *SQL)),
    Rule("exports.handlers", "events exports.events", (*WEB, *QUEUE, *SQL)),
    Rule("imports.handlers", "events imports.events", (*WEB, *QUEUE, *SQL)),
    Rule("exports.files", "exports.models", (*WEB, *QUEUE)),
    Rule("exports.exportable", "actor formula_cells listing", (*WEB, *QUEUE)),
    Rule(
        "exports.*",
        "actor audit database errors events formula_cells listing outbox session_info storage exports.*",
        (*WEB, *QUEUE),
    ),
    Rule("imports.importer imports.action", "actor audit bulk.* database errors imports.*", (*WEB, *QUEUE)),
    Rule("imports.workbook_program", "", (*WEB, *QUEUE, *SQL, *STORAGE)),
    Rule(
        "imports.reading imports.row_file imports.decoding imports.*_rows imports.workbook_* "
        "imports.shopify imports.html_text",
        "errors formula_cells text imports.decoding imports.row_file imports.*_rows imports.workbook_* "
        "imports.shopify imports.html_text",
        (*WEB, *QUEUE, *SQL, *STORAGE),
    ),
    Rule(
        "imports.*",
        "actor audit bulk.* database errors events formula_cells listing outbox session_info storage text "
        "imports.*",
        (*WEB, *QUEUE),
    ),
    Rule("notifications", "actor bulk.models exports.models", (*WEB, *QUEUE)),
    # Doors.
    Rule("security.passwords security.guessing", "errors", (*WEB, *QUEUE, *SQL)),
    Rule("security.sessions", "database", (*WEB, *QUEUE)),
    Rule("security.second_factor", "database session_info", (*WEB, *QUEUE)),
    Rule("security.tokens security.resets", "database security.sessions", (*WEB, *QUEUE)),
    Rule("security.throttle", "errors", (*WEB, *SQL, "saq")),
    Rule("security.*", "errors", (*QUEUE, *SQL)),
    # A domain, from its tables up.
    Rule(
        "domains.*.models",
        "actor audit database search_postgres domains.*.models",
        (*WEB, *QUEUE, *SESSION),
    ),
    Rule("domains.*.events", "events", (*WEB, *QUEUE, *SQL)),
    Rule("domains.*.access", "actor audit errors outbox domains.*.models", (*WEB, *QUEUE, *SESSION)),
    Rule("domains.*.names", "exports.handlers imports.handlers domains.*.handlers", (*WEB, *QUEUE, *SQL)),
    Rule("domains.*.schemas", "actor errors text", (*WEB, *QUEUE, *SQL)),
    Rule(
        "domains.*.repository",
        "actor audit bulk.models database exports.exportable filters formula_cells glances keyset listing "
        "outbox preferences search security.sessions "
        "security.second_factor security.tokens domains.*.models domains.*.access domains.*.names",
        (*WEB, *QUEUE),
    ),
    Rule(
        "domains.*.exporting",
        "actor audit bulk.models exports.exportable domains.*.models domains.*.access",
        (*WEB, *QUEUE, *SESSION),
    ),
    Rule(
        "domains.*.indexing",
        "errors search search_index search_postgres domains.*.models",
        (*WEB, *QUEUE),
    ),
    Rule(
        "domains.*.rebuilding",
        "database errors search_index domains.*.models domains.*.indexing",
        (*WEB, *QUEUE, *COMMAND_LINE),
    ),
    Rule(
        "domains.users.callers",
        "actor glances notifications preferences security.* domains.users.models",
        (*WEB, *QUEUE),
    ),
    Rule(
        "domains.*.import_repository",
        "actor imports.importer imports.staging search domains.*.models domains.*.access",
        (*WEB, *QUEUE),
    ),
    Rule("domains.*.image_repository", "actor domains.*.models domains.*.access", (*WEB, *QUEUE)),
    Rule(
        "domains.*.whole_repository",
        "database glances keyset listing domains.*.models domains.*.repository",
        (*WEB, *QUEUE),
    ),
    Rule(
        "domains.*.image_service",
        "actor errors events outbox domains.*.models domains.*.access domains.*.events "
        "domains.*.image_repository domains.*.repository",
        (*WEB, *QUEUE, *STORAGE),
    ),
    Rule(
        "domains.*.image_tasks",
        "actor database errors events images.* storage "
        "domains.*.handlers domains.*.image_service domains.*.models",
        (*WEB, *QUEUE),
    ),
    Rule(
        "domains.*.many_service",
        "actor bulk.changes bulk.creating database errors events outbox "
        "security.passwords security.resets security.sessions security.tokens domains.*.image_service "
        "domains.*.models domains.*.access domains.*.events domains.*.repository domains.*.whole_repository",
        (*WEB, *QUEUE, *STORAGE),
    ),
    Rule(
        "domains.*.service",
        "actor audit bulk.changes database errors events listing merging outbox preferences search text "
        "domains.*.many_service "
        "security.passwords security.resets security.second_factor security.sessions security.tokens "
        "domains.*.image_service domains.*.new_password domains.*.second_factor_service "
        "domains.*.models domains.*.access domains.*.exporting domains.*.schemas "
        "domains.*.events domains.*.repository domains.*.whole_repository domains.*.indexing",
        (*WEB, *QUEUE, *STORAGE),
    ),
    Rule(
        "domains.*.new_password",
        "errors security.guessing security.passwords domains.*.schemas",
        (*WEB, *QUEUE, *SQL, *STORAGE),
    ),
    Rule(
        "domains.*.reset_service",
        "actor audit errors outbox security.passwords security.resets security.tokens "
        "domains.*.models domains.*.access domains.*.events domains.*.new_password domains.*.repository "
        "domains.*.service",
        (*WEB, *QUEUE, *STORAGE),
    ),
    Rule(
        "domains.*.session_service domains.*.token_service",
        "actor audit errors security.devices security.sessions security.tokens text "
        "domains.*.models domains.*.access domains.*.repository",
        (*WEB, *QUEUE, *STORAGE),
    ),
    Rule(
        "domains.*.second_factor_service",
        "actor audit errors outbox security.second_factor security.sessions "
        "domains.*.models domains.*.access domains.*.events domains.*.repository",
        (*WEB, *QUEUE, *STORAGE),
    ),
    Rule("domains.*.summaries", "summaries domains.*.models", (*WEB, *QUEUE)),
    Rule("domains.*.handlers", "events domains.*.events", (*WEB, *QUEUE, *SQL, *STORAGE)),
    Rule(
        "domains.*.tasks",
        "actor errors events mail outbox "
        "domains.*.events domains.*.handlers domains.*.indexing domains.*.reset_service domains.*.service",
        (*WEB, *QUEUE),
    ),
    # Edges: they know services, never repositories, and not each other.
    Rule(
        "domains.*.import_action",
        "actor bulk.actions bulk.changes imports.action imports.models "
        "domains.*.bulk domains.*.image_service domains.*.models domains.*.access domains.*.service",
        (*WEB, *QUEUE, *STORAGE),
    ),
    Rule(
        "domains.*.importing",
        "actor images.containers images.downloads imports.* text domains.*.import_action "
        "domains.*.import_repository domains.*.access domains.*.schemas domains.*.service",
        (*WEB, *QUEUE, *COMMAND_LINE),
    ),
    Rule(
        "domains.*.admin",
        "actor audit errors filters listing admin.base_view admin.formatting admin.history admin.pictures "
        "domains.*.bulk "
        "domains.*.image_service domains.*.models domains.*.access domains.*.names domains.*.schemas "
        "domains.*.service domains.*.second_factor_service domains.*.session_service outbox",
        QUEUE,
    ),
    Rule(
        "domains.*.image_api",
        "actor errors images.containers images.downloads storage "
        "api.* domains.*.access domains.*.image_service domains.*.service",
        ("sqladmin", "wtforms", *QUEUE),
    ),
    Rule(
        "domains.*.api",
        "actor errors listing text api.* domains.*.access domains.*.schemas domains.*.service",
        ("sqladmin", "wtforms", *QUEUE),
    ),
    Rule(
        "domains.*.bulk",
        "actor bulk.actions bulk.changes errors text "
        "domains.*.models domains.*.access domains.*.many_service domains.*.schemas domains.*.service",
        (*WEB, *QUEUE),
    ),
    # Processes of no domain.
    Rule("relay", "config database lifeline outbox presence queue", WEB),
    Rule("web web_protocol", "config lifeline web_protocol", QUEUE),
    Rule("refusals", "errors outbox", WEB),
    Rule("logs", "outbox", (*WEB, *QUEUE)),
    Rule("request_log", "security.proxies", (*QUEUE, *SQL)),
    Rule("failures", "errors request_log", (*QUEUE, "sqladmin", "wtforms", "fastapi")),
    Rule("health", "config database migrations outbox presence queue storage", WEB),
    Rule("installation_metrics", "bulk.models database outbox presence queue upkeep", WEB),
    Rule("metrics", "database health installation_metrics outbox request_log", QUEUE),
    Rule("embedded embedded.*", "config embedded.*", (*WEB, *QUEUE, *SQL)),
    Rule(
        "doctor",
        "config database domains embedded errors mail migrations outbox presence search_meilisearch",
        WEB,
    ),
    # The API, of no domain.
    Rule("api.problems", "errors failures listing merging", ("sqladmin", "wtforms", *QUEUE, *SQL)),
    Rule(
        "api.auth",
        "actor api.requests config database domains.users.callers domains.users.service errors glances "
        "idempotency security.*",
        ("sqladmin", "wtforms", *QUEUE),
    ),
    Rule(
        "api.imports api.import_shapes",
        "actor database errors imports.* text api.*",
        ("sqladmin", "wtforms", *QUEUE),
    ),
    Rule(
        "api.operations api.operation_shapes",
        "actor bulk.* database errors listing text api.*",
        ("sqladmin", "wtforms", *QUEUE),
    ),
    Rule(
        "api.exports",
        "actor errors exports.* listing storage text api.*",
        ("sqladmin", "wtforms", *QUEUE),
    ),
    # Where things are put together.
    Rule(
        "api.app",
        "bulk.actions exports.exportable config database failures api.* domains.*.api domains.*.image_api",
        ("sqladmin", "wtforms", *QUEUE, *SQL),
    ),
    Rule("api.*", "errors listing api.*", ("sqladmin", "wtforms", *QUEUE, *SQL)),
    Rule(
        "domains",
        "actor audit bulk.* config database events exports.* idempotency imports.* mail outbox preferences "
        "presence search_* session_info storage submissions summaries upkeep "
        "security.* domains.*",
    ),
    Rule(
        "worker",
        "bulk.runner config database domains errors events lifeline outbox presence queue summaries upkeep",
        WEB,
    ),
    Rule(
        "admin.site",
        "actor config database errors failures security.throttle storage admin admin.* domains.*.admin",
        QUEUE,
    ),
    Rule(
        "admin.image_pages",
        "errors images.containers images.downloads admin.*",
        (*QUEUE, *SQL, *STORAGE),
    ),
    Rule(
        "admin.export_pages admin.exports",
        "actor database errors exports.* listing storage submissions admin.*",
        (*QUEUE, *SQL),
    ),
    Rule(
        "admin.import_pages admin.imports",
        "actor audit bulk.service errors imports.* session_info admin.*",
        (*QUEUE, *STORAGE),
    ),
    Rule(
        "admin.jobs_pages",
        "actor database errors listing presence queue_state search upkeep admin.* domains.deliveries.access "
        "domains.deliveries.admin domains.deliveries.names domains.deliveries.service",
        (*QUEUE, *SQL, *STORAGE),
    ),
    Rule("admin.sign_in_pages", "errors text admin.* security.throttle", (*QUEUE, *SQL, *STORAGE)),
    Rule(
        "admin.account_pages",
        "errors submissions admin.* security.tokens "
        "domains.users.second_factor_service domains.users.session_service domains.users.token_service",
        (*QUEUE, *SQL, *STORAGE),
    ),
    Rule("admin.password_page", "errors admin.* domains.users.schemas", (*QUEUE, *SQL, *STORAGE)),
    Rule(
        "admin.reset_pages",
        "errors mail text admin.* security.passwords security.throttle "
        "domains.users.reset_service domains.users.schemas",
        (*QUEUE, *SQL, *STORAGE),
    ),
    Rule(
        "admin.refused",
        "actor database errors admin.authentication admin.base_view domains.activity.service",
        (*WEB, *QUEUE, *STORAGE),
    ),
    Rule(
        "admin.notification_pages",
        "actor bulk.models database errors exports.models notifications admin.*",
        (*QUEUE, *SQL, *STORAGE),
    ),
    Rule("admin.charts", "", (*WEB, *QUEUE, *SQL, *STORAGE)),
    Rule(
        "admin.dashboard admin.dashboard_tiles",
        "actor bulk.models bulk.service database errors listing outbox summaries admin.* "
        "domains.activity.service domains.products.handlers domains.products.service",
        (*QUEUE, *STORAGE),
    ),
    Rule(
        "admin.history admin.history_pages",
        "actor audit database errors merging search admin.* domains.activity.access domains.activity.service",
        (*QUEUE, *STORAGE),
    ),
    Rule(
        "admin admin.*",
        "actor audit bulk.* config database errors failures filters keyset listing merging "
        "notifications outbox preferences search storage submissions "
        "security.* admin.* domains.users.callers domains.users.second_factor_service domains.users.service "
        "domains.users.session_service",
        (*QUEUE, *STORAGE),
    ),
    Rule(
        "app",
        "api.app api.problems config admin admin.* domains failures health metrics presence "
        "request_log security.* storage",
        QUEUE,
    ),
    Rule(
        "cli cli_accounts cli_data cli_exports cli_imports cli_search import_command installation __main__ "
        "supervisor demo",
        "actor app bulk.models cli cli_accounts cli_data cli_exports cli_imports cli_search import_command "
        "config database demo doctor embedded embedded.* errors exports.* imports.* installation lifeline "
        "logs migrations refusals text relay security.headers supervisor web worker domains "
        "domains.*.models domains.*.schemas domains.*.service domains.*.importing domains.*.indexing "
        "domains.*.rebuilding domains.*.second_factor_service",
        ("sqladmin", "wtforms"),
    ),
    Rule("migrations migrations.*", "config domains embedded migrations", (*WEB, *QUEUE)),
)

PACKAGES_WITHOUT_CODE = {
    "",
    "api",
    "bulk",
    "exports",
    "images",
    "imports",
    "security",
    "domains.activity",
    "domains.deliveries",
    "domains.products",
    "domains.users",
    "migrations.versions",
}

DOMAINS = {
    "products": {"users"},
    "users": set(),
    "activity": {"products", "users"},
    "deliveries": {"products", "users"},
}
"""Which other domain each one may know. No circles, so that one can be understood before the next."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


@cache
def parse(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text())


@cache
def imports_of(name: str) -> set[str]:
    """Full names of what the module imports: of our own the module, of libraries down to the name."""
    found: set[str] = set()
    for node in ast.walk(parse(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relative to itself"
            module = node.module or ""
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                is_ours = module.split(".")[0] == PACKAGE
                found.add(module if is_ours and inner[len(PACKAGE) + 1 :] not in MODULES else inner)
    return found


def ours(name: str) -> set[str]:
    own = {imported for imported in imports_of(name) if imported.split(".")[0] == PACKAGE}
    return {imported[len(PACKAGE) + 1 :] for imported in own} - PACKAGES_WITHOUT_CODE - {name}


def fits(name: str, patterns: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns.split())


def rule_of(name: str) -> Rule:
    for rule in RULES:
        if fits(name, rule.modules):
            return rule
    pytest.fail(f"{name} stands in no rule: say in the table above what it may import")


@pytest.mark.parametrize("name", sorted(set(MODULES) - PACKAGES_WITHOUT_CODE))
def test_a_module_imports_only_what_its_rule_allows(name: str) -> None:
    rule = rule_of(name)
    assert {module for module in ours(name) if not fits(module, rule.may_import)} == set()


@pytest.mark.parametrize("name", sorted(set(MODULES) - PACKAGES_WITHOUT_CODE))
def test_a_module_stays_away_from_the_libraries_its_rule_forbids(name: str) -> None:
    rule = rule_of(name)
    used = imports_of(name)
    assert {
        library
        for library in rule.never
        if any(imported == library or imported.startswith(f"{library}.") for imported in used)
    } == set()


@pytest.mark.parametrize("name", sorted(PACKAGES_WITHOUT_CODE))
def test_a_package_without_code_imports_nothing(name: str) -> None:
    assert imports_of(name) == set()


def test_no_rule_lets_anybody_but_services_import_a_repository() -> None:
    allowed = {rule.modules for rule in RULES if fits("domains.products.repository", rule.may_import)}
    assert allowed == {
        "domains.*.many_service",
        "domains.*.service",
        "domains.*.image_service",
        "domains.*.whole_repository",
        "domains",
        "domains.*.session_service domains.*.token_service",
        "domains.*.second_factor_service",
        "domains.*.reset_service",
    }


def test_domains_know_each_other_in_one_direction_only() -> None:
    for name in MODULES:
        if name.startswith("domains."):
            domain = name.split(".")[1]
            known = {module.split(".")[1] for module in ours(name) if module.startswith("domains.")}
            assert known <= {domain, *DOMAINS[domain]}, f"{name} imports {known}"


@pytest.mark.parametrize(
    ("libraries", "module"), [(STORAGE, "storage"), (IMAGES, "images.conversion")], ids=["storage", "images"]
)
def test_a_library_is_used_in_one_place(libraries: tuple[str, ...], module: str) -> None:
    used_by = {
        name for name in MODULES if any(imported.split(".")[0] in libraries for imported in imports_of(name))
    }
    assert used_by == {module}


def test_only_the_database_module_ends_transactions() -> None:
    """A service never commits; the edge does, by leaving `Database.transaction()`."""
    for name in MODULES.keys() - {"database"}:
        calls = {
            node.func.attr
            for node in ast.walk(parse(name))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        assert not calls & {"commit", "rollback"}, name


@pytest.mark.parametrize("layer", ["repository", "service", "access"])
def test_only_repositories_select_from_a_domains_tables(layer: str) -> None:
    for domain in DOMAINS:
        name = f"domains.{domain}.{layer}"
        uses_select = "sqlalchemy.select" in imports_of(name)
        assert uses_select == (layer == "repository"), name


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_says_what_lives_in_it(name: str) -> None:
    if MODULES[name].read_text().strip():
        assert ast.get_docstring(parse(name))


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_is_not_too_long_to_read(name: str) -> None:
    assert len(MODULES[name].read_text().splitlines()) <= MAX_LINES


def test_every_rule_is_about_something() -> None:
    planned = {"domains.*.bulk"}
    for rule in RULES:
        if rule.modules not in planned:
            for pattern in rule.modules.split():
                assert any(fnmatchcase(name, pattern) for name in MODULES), f"no module is named {pattern}"
