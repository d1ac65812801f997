//! What the library relies on of this kernel, tried and not asked for: emulators say yes to
//! anything.

use std::ptr;

/// Whether a forked child finds zeroes where memory was marked `MADV_WIPEONFORK`.
pub fn wipes_on_fork() -> bool {
    // The smallest mapping: the kernel rounds up to its page.
    const SIZE: usize = 4096;
    // SAFETY: a new mapping of our own; the child reads one byte of it and leaves, by calls
    // that are async-signal-safe.
    unsafe {
        let page = libc::mmap(
            ptr::null_mut(),
            SIZE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if page == libc::MAP_FAILED || libc::madvise(page, SIZE, libc::MADV_WIPEONFORK) != 0 {
            return false;
        }
        let mark = page.cast::<u8>();
        mark.write_volatile(1);
        let child = libc::fork();
        if child == 0 {
            libc::_exit(i32::from(mark.read_volatile()));
        }
        let mut status = -1;
        while libc::waitpid(child, &raw mut status, 0) < 0
            && *libc::__errno_location() == libc::EINTR
        {}
        libc::munmap(page, SIZE);
        child > 0 && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
    }
}
