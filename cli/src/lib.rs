//! The command `forkguard`: starts programs under the library, and looks at
//! running ones from outside.

pub mod arguments;
