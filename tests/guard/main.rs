//! Real clients against a real server, with the library and without: one module a behaviour.

mod support;

mod child_handler;
mod cluster;
mod threads;
