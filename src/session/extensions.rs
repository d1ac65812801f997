//! Functions of extensions that leave their session alone, asked of the server.
//!
//! The text of a statement names the functions it calls. The journal keeps the names that PostgreSQL does not ship in
//! `pg_catalog`, and at the resume the server says whether every function of each name, in any
//! schema and with any arguments, belongs to an extension of the lists below.
//!
//! The answer says what holds now; the parent called what held then. In between:
//! - The session itself may have made, dropped or replaced such a function: then it is lost
//!   ([`Journal::function_in_doubt`](super::journal::Journal)).
//! - What an administrator did meanwhile holds, as for any new session (docs/LIMITS.md).
//!
//! A call of these functions loads the extension's library into the session; so do its operators,
//! which no text shows. The library brings settings, each with its default. A child has the same
//! ones as soon as it calls such a function itself.

use forkguard_sql::LONGEST_NAME;
use std::format;
use std::string::String;

/// Their functions compute, or read tables, unless they are volatile: `set_limit` of pg_trgm changes a
/// setting, `AddAuth` of PostGIS makes a temporary table, `AddGeometryColumn` changes one.
///
/// Not here: dblink and postgres_fdw keep connections; tablefunc and xml2 run a query that is handed
/// to them as text; isn has a setting of its own (`isn_weak`); pg_partman, pg_cron and their like run
/// what they find in tables.
const BUT_VOLATILE: [&str; 27] = [
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dict_int",
    "dict_xsyn",
    "earthdistance",
    "fuzzystrmatch",
    "h3",
    "hll",
    "hstore",
    "intagg",
    "intarray",
    "ip4r",
    "ltree",
    "pg_stat_statements",
    "pg_trgm",
    "pgcrypto",
    "postgis",
    "postgis_raster",
    "postgis_topology",
    "seg",
    "semver",
    "sslinfo",
    "unaccent",
    "uuid-ossp",
    "vector",
];

/// The volatile ones are, too: random bytes, salts and numbers that are new each time, from the
/// operating system or OpenSSL, whose state is the process's and not the session's.
const ALL: [&str; 2] = ["pgcrypto", "uuid-ossp"];

/// Whether a name can be asked about: it stands in a text that is read by a session's first settings.
pub(crate) fn may_be_asked(name: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
    !name.is_empty() && name.len() <= LONGEST_NAME && name.iter().all(plain)
}

/// An expression of type text: the first of these names that is not such a function's, or NULL.
/// `pg_proc` is 1255 and `pg_extension` 3079 (pg_class.dat, catalogs' headers).
pub(crate) fn first_unknown<'a>(names: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let list = |names: &mut dyn Iterator<Item = &[u8]>| {
        let mut list = String::new();
        for name in names {
            let comma = if list.is_empty() { "" } else { "," };
            list.push_str(&format!("{comma}'{}'", String::from_utf8_lossy(name)));
        }
        list
    };
    let asked = list(&mut names.filter(|name| may_be_asked(name)));
    if asked.is_empty() {
        return None;
    }
    let but_volatile = list(&mut BUT_VOLATILE.iter().map(|name| name.as_bytes()));
    let all = list(&mut ALL.iter().map(|name| name.as_bytes()));
    let of = "p.proname OPERATOR(pg_catalog.=) f.name";
    Some(format!(
        "(SELECT f.name FROM pg_catalog.unnest(ARRAY[{asked}]::pg_catalog.name[]) AS f(name) \
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_proc AS p WHERE {of}) \
         OR EXISTS (SELECT FROM pg_catalog.pg_proc AS p WHERE {of} AND NOT EXISTS \
         (SELECT FROM pg_catalog.pg_depend AS d, pg_catalog.pg_extension AS e \
         WHERE d.classid OPERATOR(pg_catalog.=) 1255::pg_catalog.oid AND d.objid OPERATOR(pg_catalog.=) p.oid \
         AND d.refclassid OPERATOR(pg_catalog.=) 3079::pg_catalog.oid AND d.refobjid OPERATOR(pg_catalog.=) e.oid \
         AND d.deptype OPERATOR(pg_catalog.=) 'e'::pg_catalog.\"char\" \
         AND (p.provolatile OPERATOR(pg_catalog.<>) 'v'::pg_catalog.\"char\" \
         AND e.extname OPERATOR(pg_catalog.=) ANY (ARRAY[{but_volatile}]::pg_catalog.name[]) \
         OR e.extname OPERATOR(pg_catalog.=) ANY (ARRAY[{all}]::pg_catalog.name[])))) LIMIT 1)::pg_catalog.text"
    ))
}
