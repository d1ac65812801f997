//! All hooks, and the real functions behind them.

use core::sync::atomic::AtomicPtr;

use super::{descriptor, loader, process, socket, wait};
use crate::objects::list;

/// Looks up every real function. Called by the constructor. Not by `redhook`: it
/// asks `dlsym`, at the first call, holding a `Once` that a fork in another thread
/// would leave held in the child.
pub(crate) fn resolve_all() {
    list::find_iterate();
    loader::next_of_all(|with| {
        loader::each_real(with);
        each_hooked(with);
    });
    loader::find_threads();
}

/// Calls `with` with the name of each function that is hooked, and where the real one is
/// kept.
fn each_hooked(with: &mut dyn FnMut(&[u8], &AtomicPtr<()>)) {
    socket::each_real(with);
    wait::each_real(with);
    descriptor::each_real(with);
    process::each_real(with);
}

/// The library that stands before us, if one does: what it does not pass on is not seen.
pub(crate) fn before_us() -> Option<loader::Before> {
    loader::before_us(each_hooked)
}

/// Our function of this name, where `held` is libc's: for a slot that was bound
/// past us (`RTLD_DEEPBIND`).
pub(crate) fn instead_of(name: &[u8], held: usize) -> Option<usize> {
    let files = [
        socket::instead_of,
        wait::instead_of,
        descriptor::instead_of,
        process::instead_of,
    ];
    files.iter().find_map(|file| file(name, held))
}

/// Whether our functions come before libc's where names are looked up. They do
/// where the library is preloaded, or linked to the program; not where it came by
/// `dlopen`, alone or with a plug-in that is linked with it.
pub(crate) fn is_in_front() -> bool {
    instead_of(b"connect", loader::first(b"connect") as usize).is_none()
}
