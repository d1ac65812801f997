//! What must never stand in a child handler, for the test that has to find it
//! there. Compiled only with `--cfg break_child_handler="…"`.

/// Allocates.
#[cfg(break_child_handler = "allocate")]
#[inline(never)]
pub fn allocate() {
    core::hint::black_box(std::boxed::Box::new(1u64));
}

/// Takes a lock.
#[cfg(break_child_handler = "lock")]
#[inline(never)]
pub fn lock() {
    static LOCK: std::sync::Mutex<u64> = std::sync::Mutex::new(0);
    if let Ok(mut count) = LOCK.lock() {
        *count += 1;
    };
}
