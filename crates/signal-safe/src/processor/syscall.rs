//! A system call, as one instruction.
//!
//! Not through `syscall(2)`: that is a symbol, which other preload libraries
//! interpose (uid_wrapper, torsocks) and look up by `dlsym`, which is our own hook.
//! The error comes back as a value, and `errno` is never touched.

use core::ffi::{c_int, c_long};

/// Makes system call `number`. An error is the `errno` value.
///
/// # Safety
/// What the kernel is told to read and write must be there for it.
#[inline(always)]
pub unsafe fn system_call(number: c_long, arguments: [usize; 6]) -> Result<usize, c_int> {
    // SAFETY: the caller's promise.
    let result = unsafe { raw(number, arguments) };
    // The kernel answers with errors from -4095 to -1 (`MAX_ERRNO`, include/linux/err.h).
    if (-4095..0).contains(&result) {
        Err(-result as c_int)
    } else {
        Ok(result as usize)
    }
}

/// The kernel destroys `rcx` and `r11`, and keeps all else (System V ABI, AMD64
/// supplement, A.2.1).
#[cfg(all(
    target_arch = "x86_64",
    target_pointer_width = "64",
    not(forkguard_other_processor)
))]
#[inline(always)]
unsafe fn raw(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let result;
    // SAFETY: the caller's promise; nothing is written to the stack.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The number in `x8`, six arguments from `x0` on, the answer in `x0` (syscall(2)).
#[cfg(all(target_arch = "aarch64", not(forkguard_other_processor)))]
#[inline(always)]
unsafe fn raw(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let result;
    // SAFETY: the caller's promise; nothing is written to the stack.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    result
}

/// Elsewhere `syscall(2)`, with `errno` put back.
#[cfg(not(all(
    any(
        all(target_arch = "x86_64", target_pointer_width = "64"),
        target_arch = "aarch64"
    ),
    not(forkguard_other_processor)
)))]
unsafe fn raw(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    // SAFETY: this thread's errno; the caller's promise.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        let result = match libc::syscall(number, a, b, c, d, e, f) {
            -1 => -(*errno as isize),
            result => result as isize,
        };
        *errno = before;
        result
    }
}
