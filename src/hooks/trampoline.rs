//! `dlsym` and `dlvsym` as they are exported: tail jumps, so that ld.so sees the true caller.
//!
//! What each processor needs for it is in [`forkguard_signal_safe::processor`].

use forkguard_signal_safe::{indirect_function, tail_jump};

tail_jump!(dlsym, super::loader::before_dlsym);
tail_jump!(dlvsym, super::loader::before_dlvsym);

// To look an indirect function up is to call its resolver: see `loader`. The loader tells
// the resolver about the processor; nobody reads it. The name is `loader::LOOK_AROUND`.
indirect_function!(
    forkguard_look_around_under_the_loaders_lock,
    super::loader::look_around
);
