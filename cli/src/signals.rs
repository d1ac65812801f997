//! Signals as bytes to wait for.

use std::io::Read;
use std::os::unix::net::UnixStream;

use crate::Failure;

/// A stream that gets a byte for each of these signals.
pub fn pipe(which: &[i32]) -> Result<UnixStream, Failure> {
    let failed = |error: std::io::Error| Failure::new(1, error.to_string());
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    for signal in which {
        let writer = theirs.try_clone().map_err(failed)?;
        signal_hook::low_level::pipe::register(*signal, writer).map_err(failed)?;
    }
    Ok(ours)
}

/// Waits until one of them comes.
pub fn wait_for(which: &[i32]) -> Result<(), Failure> {
    let _ = pipe(which)?.read(&mut [0]);
    Ok(())
}
