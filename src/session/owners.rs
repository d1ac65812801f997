//! Which libraries of the server own which settings.
//!
//! A dotted setting that no library owns is `''` once it has been set and taken back. One that a
//! library owns is its default again, and no text tells whether the parent's backend has loaded the
//! library: any of its functions does, when it is first called.
//!
//! From `nm` and the texts of what the servers 13 to 18 ship (those that define settings refer to
//! `DefineCustom…Variable`); PostGIS's and pgvector's from their sources.

/// Every library whose settings are known, with what stands before their points.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("_int", &[]),
    ("address_standardizer-3", &[]),
    ("adminpack", &[]),
    ("amcheck", &[]),
    ("auth_delay", &["auth_delay"]),
    ("auto_explain", &["auto_explain"]),
    ("autoinc", &[]),
    ("basebackup_to_shell", &["basebackup_to_shell"]),
    ("basic_archive", &["basic_archive"]),
    ("bloom", &[]),
    ("bool_plperl", &["plperl"]),
    ("btree_gin", &[]),
    ("btree_gist", &[]),
    ("citext", &[]),
    ("cube", &[]),
    ("dblink", &[]),
    ("dict_int", &[]),
    ("dict_xsyn", &[]),
    ("earthdistance", &[]),
    ("file_fdw", &[]),
    ("fuzzystrmatch", &[]),
    ("hstore", &[]),
    ("hstore_plperl", &["plperl"]),
    ("hstore_plpython3", &[]),
    ("insert_username", &[]),
    ("isn", &["isn"]),
    ("jsonb_plperl", &["plperl"]),
    ("jsonb_plpython3", &[]),
    ("lo", &[]),
    ("ltree", &[]),
    ("ltree_plpython3", &[]),
    ("moddatetime", &[]),
    ("old_snapshot", &[]),
    ("pageinspect", &[]),
    ("passwordcheck", &["passwordcheck"]),
    ("pg_buffercache", &[]),
    ("pg_freespacemap", &[]),
    ("pg_logicalinspect", &[]),
    ("pg_overexplain", &[]),
    ("pg_prewarm", &["pg_prewarm"]),
    ("pg_stat_statements", &["pg_stat_statements"]),
    ("pg_surgery", &[]),
    ("pg_trgm", &["pg_trgm"]),
    ("pg_visibility", &[]),
    ("pg_walinspect", &[]),
    ("pgcrypto", &["pgcrypto"]),
    ("pgrowlocks", &[]),
    ("pgstattuple", &[]),
    ("pgxml", &[]),
    ("plperl", &["plperl"]),
    ("plpgsql", &["plpgsql"]),
    ("plpython3", &[]),
    ("pltcl", &["pltcl", "pltclu"]),
    ("postgis-3", &["postgis"]),
    ("postgis_raster-3", &["postgis"]),
    ("postgis_sfcgal-3", &["postgis"]),
    ("postgis_topology-3", &["postgis"]),
    ("postgres_fdw", &["postgres_fdw"]),
    ("refint", &[]),
    ("seg", &[]),
    ("sepgsql", &["sepgsql"]),
    ("sslinfo", &[]),
    ("tablefunc", &[]),
    ("tcn", &[]),
    ("test_decoding", &[]),
    ("tsm_system_rows", &[]),
    ("tsm_system_time", &[]),
    ("unaccent", &[]),
    ("uuid-ossp", &[]),
    ("vector", &["hnsw", "ivfflat"]),
];

/// What stands before a setting's first point.
fn prefix(setting: &[u8]) -> &[u8] {
    setting
        .split(|byte| *byte == b'.')
        .next()
        .unwrap_or(setting)
}

fn owns(prefixes: &[&str], setting: &[u8]) -> bool {
    let own = prefix(setting);
    prefixes
        .iter()
        .any(|its| its.as_bytes().eq_ignore_ascii_case(own))
}

/// Whether a library is known that owns such settings.
pub(crate) fn is_owned(setting: &[u8]) -> bool {
    LIBRARIES
        .iter()
        .any(|(_, prefixes)| owns(prefixes, setting))
}

/// Whether it is PL/pgSQL's, which is in every database from the start.
pub(crate) fn is_plpgsql(setting: &[u8]) -> bool {
    owns(&["plpgsql"], setting)
}

/// The libraries that are known to own none of these settings.
pub(crate) fn innocent<'a>(settings: &'a [&'a [u8]]) -> impl Iterator<Item = &'static str> + 'a {
    let none = |prefixes: &[&str]| !settings.iter().any(|setting| owns(prefixes, setting));
    LIBRARIES
        .iter()
        .filter(move |(_, prefixes)| none(prefixes))
        .map(|(library, _)| *library)
}
