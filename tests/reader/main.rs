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

use said::{said, MODE};
