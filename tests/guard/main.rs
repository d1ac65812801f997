//! Real clients against a real server, with the library and without: one module a behaviour.

mod support;

#[allow(dead_code)]
#[path = "../../src/reason.rs"]
mod reason;

mod behind;
mod c_interface;
mod cancel;
mod child_fails_well;
mod child_handler;
mod clients;
mod cluster;
mod command;
mod configuration;
mod counters;
mod descriptors;
mod detector;
mod documents;
mod equal;
mod exit;
mod facts;
mod faults_host;
mod fork_waits;
mod hard_times;
mod libpq_binding;
mod libpq_names;
mod memory;
mod packages;
mod panics;
mod parent_undisturbed;
mod recipes;
mod resume;
mod security;
mod server_faults;
mod servers;
mod signals;
mod soak;
mod strangers;
mod suites;
mod threads;
mod transactions;
mod troubleshooting;
mod ways_to_fork;
