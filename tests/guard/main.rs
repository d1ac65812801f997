//! Real clients against a real server, with the library and without: one module a behaviour.

mod support;

mod c_interface;
mod child_fails_well;
mod child_handler;
mod clients;
mod cluster;
mod configuration;
mod descriptors;
mod facts;
mod hard_times;
mod parent_undisturbed;
mod signals;
mod strangers;
mod threads;
mod ways_to_fork;
