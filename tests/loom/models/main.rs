//! Models: each holds in every interleaving, and is shown to fail where something is taken away.

mod fork_barrier;
mod generation;
mod objects;
mod sessions;
