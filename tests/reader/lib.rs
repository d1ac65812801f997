//! Two answers to the question of what a statement does to its session, in one vocabulary: by
//! PostgreSQL's own parse tree ([`tree`]) and by the reader of statements ([`said`]).
//! The tests here and the fuzzers compare them.

#![allow(missing_docs)] // for tests alone

pub mod said;
pub mod tree;
