//! The reader of statements against PostgreSQL: its own parser (`pg_query`), its own test
//! scripts, and a real server.

mod corpus;
mod said;
mod tree;

mod parser;
mod property;
mod server;

#[allow(dead_code, unused_imports)] // a part of it is for other tests
#[path = "../guard/support/mod.rs"]
mod support;

use said::{said, MODE};
