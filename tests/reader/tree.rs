//! What a statement does to its session, told from PostgreSQL's own parse tree.

use serde_json::Value as Json;
use std::collections::HashSet;
use std::sync::OnceLock;

/// What the tree says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Does {
    Nothing,
    /// Something the reader has a word for, in its words.
    This(String),
    /// Something that only `Opaque` describes.
    Changes(String),
}

/// The reader's table of harmless functions, from its source: the table has a test of its own.
fn table() -> &'static HashSet<&'static str> {
    static TABLE: OnceLock<HashSet<&str>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let source = include_str!("../../crates/sql/src/functions.rs");
        let names = source.split("HARMLESS: &str = \"").nth(1).unwrap();
        names
            .split('"')
            .next()
            .unwrap()
            .split_whitespace()
            // Those of the newest server, as `said::MODE`: `name:16-`, and no `name:-14`.
            .filter(|entry| !entry.contains(':') || entry.ends_with('-'))
            .map(|entry| entry.split(':').next().unwrap())
            .collect()
    })
}

/// What the one statement of a text does, and how its tree is called; nothing if PostgreSQL's
/// parser refuses the text.
pub fn does(sql: &str) -> Option<(Does, String)> {
    let parsed = pg_query::parse(sql).ok()?;
    if parsed.protobuf.stmts.len() != 1 {
        return None;
    }
    let tree = serde_json::to_value(&parsed.protobuf.stmts[0].stmt).ok()?;
    let (kind, body) = node(&tree)?;
    Some((statement(kind, body), kind.to_owned()))
}

/// `{"node": {"SelectStmt": {…}}}`
fn node(tree: &Json) -> Option<(&str, &Json)> {
    let (kind, body) = tree.get("node")?.as_object()?.iter().next()?;
    Some((kind, body))
}

fn text<'j>(body: &'j Json, key: &str) -> &'j str {
    body.get(key).and_then(Json::as_str).unwrap_or_default()
}

fn number(body: &Json, key: &str) -> i64 {
    body.get(key).and_then(Json::as_i64).unwrap_or_default()
}

fn yes(body: &Json, key: &str) -> bool {
    body.get(key).and_then(Json::as_bool).unwrap_or_default()
}

fn statement(kind: &str, body: &Json) -> Does {
    if kind == "SelectStmt" {
        if let Some(set) = set_config(body) {
            return set;
        }
    }
    if let Some(change) = change_by(kind, body) {
        return Does::Changes(change);
    }
    let this = |text: String| Does::This(text);
    match kind {
        "TransactionStmt" => {
            let name = text(body, "savepoint_name");
            match number(body, "kind") {
                1 | 2 => this("Begin".into()),
                3 => this("Commit".into()),
                4 => this("Rollback".into()),
                5 => this(format!("Savepoint {name}")),
                6 => this(format!("Release {name}")),
                7 => this(format!("RollbackTo {name}")),
                8 => this("PrepareTransaction".into()),
                9 | 10 => Does::Nothing, // COMMIT PREPARED, ROLLBACK PREPARED
                other => panic!("TransactionStmt {other}"),
            }
        }
        "VariableSetStmt" => variable(body),
        "PrepareStmt" => this(format!("Prepare {}", text(body, "name"))),
        "ExecuteStmt" => this(format!("Execute {}", text(body, "name"))),
        "ExplainStmt" | "CreateTableAsStmt" => inner(body),
        "DeallocateStmt" if text(body, "name").is_empty() => this("DeallocateAll".into()),
        "DeallocateStmt" => this(format!("Deallocate {}", text(body, "name"))),
        "ListenStmt" => this(format!("Listen {}", text(body, "conditionname"))),
        "UnlistenStmt" if text(body, "conditionname").is_empty() => this("UnlistenAll".into()),
        "UnlistenStmt" => this(format!("Unlisten {}", text(body, "conditionname"))),
        "DiscardStmt" if number(body, "target") == 1 => this("DiscardAll".into()),
        "DiscardStmt" => this("DiscardOther".into()),
        "CopyStmt" if text(body, "filename").is_empty() => this("Copy".into()),
        _ => Does::Nothing,
    }
}

/// EXPLAIN EXECUTE, CREATE TABLE AS EXECUTE, and both.
fn inner(body: &Json) -> Does {
    match node(&body["query"]) {
        Some((kind @ ("ExecuteStmt" | "CreateTableAsStmt"), body)) => statement(kind, body),
        _ => Does::Nothing,
    }
}

fn variable(body: &Json) -> Does {
    let name = text(body, "name").to_ascii_lowercase();
    let local = if yes(body, "is_local") { "local " } else { "" };
    match number(body, "kind") {
        1 => Does::This(format!("Set {local}{name} Given")),
        2 => Does::This(format!("Set {local}{name} Default")),
        5 => Does::This(format!("Set {name} Default")),
        3 => Does::Changes("FROM CURRENT".into()),
        4 if name == "session characteristics" => {
            let mut sets: Vec<&str> = body["args"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|arg| Some(text(node(arg)?.1, "defname")))
                .collect();
            sets.sort_unstable();
            sets.dedup();
            Does::This(format!("SetCharacteristics {local}{}", sets.join(" ")))
        }
        4 => Does::Nothing, // SET TRANSACTION
        6 => Does::This("ResetAll".into()),
        other => panic!("VariableSetStmt {other}"),
    }
}

/// `SELECT set_config(…), …` of constants and parameters, and nothing else.
fn set_config(body: &Json) -> Option<Does> {
    let only = ["target_list", "limit_option", "op", "all", "group_distinct"];
    let rest = body.as_object()?.iter().any(|(key, value)| {
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        !only.contains(&key.as_str()) && !empty
    });
    let targets = body["target_list"].as_array()?;
    if rest || targets.is_empty() {
        return None;
    }
    let mut calls = Vec::new();
    for target in targets {
        let (_, target) = node(target)?;
        let ("FuncCall", call) = node(&target["val"])? else {
            return None;
        };
        if function(call) != ["set_config"] && function(call) != ["pg_catalog", "set_config"] {
            return None;
        }
        let arguments = call["args"].as_array()?;
        let arguments: Option<Vec<_>> = arguments.iter().map(constant).collect();
        calls.push(<[_; 3]>::try_from(arguments?).ok()?);
    }
    let [[name, value, local]] = &calls[..] else {
        return Some(Does::This("SetConfig".to_owned()));
    };
    let is_plain = |name: &&str| !name.contains(['\'', '\\']);
    let known = name.as_ref().filter(|name| name.0 == "Sval");
    let known = known.map(|name| text(name.1, "sval")).filter(is_plain);
    let local = local.as_ref().filter(|local| local.0 == "Boolval");
    let (Some(name), Some(local)) = (known, local) else {
        return Some(Does::This("SetConfig".to_owned()));
    };
    if name.eq_ignore_ascii_case("seed") {
        return None;
    }
    let local = if yes(local.1, "boolval") {
        "local "
    } else {
        ""
    };
    let value = match value {
        Some(("", _)) => "Default",
        _ => "Given",
    };
    let name = name.to_ascii_lowercase();
    Some(Does::This(format!("Set {local}{name} {value}")))
}

/// A constant's kind, `""` for NULL, and itself; nothing in it for a parameter. Nothing for all else.
fn constant(argument: &Json) -> Option<Option<(&str, &Json)>> {
    match node(argument)? {
        ("TypeCast", cast) => constant(&cast["arg"]),
        ("ParamRef", _) => Some(None),
        ("AConst", constant) => Some(Some(
            match constant["val"]
                .as_object()
                .and_then(|val| val.iter().next())
            {
                Some((kind, value)) => (kind.as_str(), value),
                None => ("", constant),
            },
        )),
        _ => None,
    }
}

fn function(call: &Json) -> Vec<&str> {
    call["funcname"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|part| Some(text(node(part)?.1, "sval")))
        .collect()
}

/// What in a tree only `Opaque` describes.
fn change(tree: &Json) -> Option<String> {
    match tree {
        Json::Array(items) => items.iter().find_map(change),
        Json::Object(fields) => fields.iter().find_map(|(key, value)| change_by(key, value)),
        _ => None,
    }
}

fn change_by(key: &str, body: &Json) -> Option<String> {
    const COERCE_SQL_SYNTAX: i64 = 4; // EXTRACT(… FROM …) and the like
    const CURSOR_OPT_HOLD: i64 = 0x20;
    let temporary = |name: &str| name.starts_with("pg_temp");
    // A relation of `pg_temp` may be named, and not made.
    let made_there = |field: &str| text(&body[field], "schemaname") == "pg_temp";
    // Parsed and not run, and with nothing in it that is set or loaded.
    let option = |name: &str| {
        let options = body["options"].as_array().into_iter().flatten();
        let options = options.filter_map(|option| Some(node(option)?.1));
        options
            .filter(|option| text(option, "defname") == name)
            .collect::<Vec<_>>()
    };
    let is_language = |option: &&Json| {
        let language = node(&option["arg"]).map(|(_, name)| text(name, "sval").to_lowercase());
        matches!(language.as_deref(), Some("sql" | "plpgsql"))
    };
    let is_path = |option: &&Json| {
        node(&option["arg"])
            .is_some_and(|(_, set)| text(set, "name").eq_ignore_ascii_case("search_path"))
    };
    let is = match key {
        "CreateFunctionStmt" => {
            let languages = option("language");
            let plain = !languages.is_empty()
                && languages.iter().all(is_language)
                && option("set").iter().all(is_path)
                && !body.to_string().contains("pg_temp");
            if plain {
                return None;
            }
            true
        }
        "CreateExtensionStmt" => {
            const KNOWN: [&str; 20] = [
                "btree_gin",
                "btree_gist",
                "citext",
                "cube",
                "dict_int",
                "dict_xsyn",
                "earthdistance",
                "fuzzystrmatch",
                "hstore",
                "intagg",
                "intarray",
                "ltree",
                "pg_stat_statements",
                "pg_trgm",
                "pgcrypto",
                "plpgsql",
                "seg",
                "tablefunc",
                "unaccent",
                "uuid-ossp",
            ];
            if KNOWN.contains(&text(body, "extname")) && option("cascade").is_empty() {
                return None;
            }
            true
        }
        "DoStmt"
        | "CallStmt"
        | "LoadStmt"
        | "AlterSystemStmt"
        | "AlterRoleSetStmt"
        | "AlterDatabaseSetStmt"
        | "CreatePlangStmt"
        | "ImportForeignSchemaStmt"
        | "CreateForeignServerStmt"
        | "CreateForeignTableStmt"
        | "CreateFdwStmt"
        | "CreateUserMappingStmt" => true,
        "VariableSetStmt" => {
            let name = text(body, "name");
            let path = name.eq_ignore_ascii_case("search_path");
            name.eq_ignore_ascii_case("seed") || (path && body.to_string().contains("pg_temp"))
        }
        "FuncCall" if number(body, "funcformat") != COERCE_SQL_SYNTAX => {
            let name = function(body);
            let known = match name[..] {
                [name] | ["pg_catalog", name] => table().contains(name),
                _ => false,
            };
            if !known {
                return Some(format!("function {}", name.join(".")));
            }
            false
        }
        "UpdateStmt" | "InsertStmt" | "DeleteStmt" | "MergeStmt" => {
            text(&body["relation"], "relname") == "pg_settings"
        }
        "DeclareCursorStmt" => number(body, "options") & CURSOR_OPT_HOLD != 0,
        "CreateStmt" | "ViewStmt" | "CreateSeqStmt" | "IntoClause"
            if ["relation", "view", "sequence", "rel"]
                .into_iter()
                .any(made_there) =>
        {
            true
        }
        "relpersistence" => body == "t",
        "schemaname" | "schema" => body
            .as_str()
            .is_some_and(|name| temporary(name) && name != "pg_temp"),
        _ => false,
    };
    if is {
        return Some(key.to_owned());
    }
    change(body)
}
