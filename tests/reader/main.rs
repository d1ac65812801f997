//! The reader of statements against PostgreSQL: its own parser (`pg_query`), its own test
//! scripts, and a real server.

mod corpus;
mod said;
mod tree;

mod parser;
mod property;
mod server;

#[path = "../guard/support/mod.rs"]
mod support;

#[allow(dead_code)]
#[path = "../../src/reason.rs"]
mod reason;
#[allow(dead_code, unused_imports)] // what the library does with it
#[path = "../../src/statements/mod.rs"]
mod statements;

use said::{said, MODE};
