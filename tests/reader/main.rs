//! The reader of statements against PostgreSQL: its own parser (`pg_query`), its own test
//! scripts, and a real server.

mod corpus;

mod parser;
mod property;
mod server;

use forkguard_test_support as support;
use reader::said::{said, MODE};
use reader::tree;
