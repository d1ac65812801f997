//! AArch64, as Linux has it (Procedure Call Standard AAPCS64, ELF for the Arm 64-bit
//! architecture AAELF64).
//!
//! A function that may be reached by a branch to a register begins with `bti c`, and
//! such a branch goes by `x16`, which `bti c` lets in from any page. Both are hints:
//! a processor that does not know them does nothing. Return addresses are not signed
//! (`paciasp`), for the compiler's own code in this library does not either.

use core::arch::naked_asm;
use core::ffi::c_void;

/// Whether `dlsym` is interposed, and libpq's functions can be redirected.
pub const HAS_TRAMPOLINE: bool = true;

/// Whether a relocation of this type puts a function's address into its slot
/// (AAELF64, 5.7: `R_AARCH64_ABS64`, `R_AARCH64_GLOB_DAT`, `R_AARCH64_JUMP_SLOT`).
/// Not `R_AARCH64_IRELATIVE`: it names no symbol.
pub fn is_function_address(kind: u32) -> bool {
    matches!(kind, 257 | 1025 | 1026)
}

/// This thread, by its thread pointer, without a call: another number than
/// `pthread_self(3)` gives, and as good a name. A multiple of 16, the alignment of a
/// control block.
#[inline(always)]
pub fn this_thread() -> usize {
    let thread;
    // SAFETY: reads a register that every thread may read.
    unsafe {
        core::arch::asm!("mrs {}, tpidr_el0", out(reg) thread, options(nostack, nomem, preserves_flags));
    }
    thread
}

/// This thread, as `pthread_self(3)` names it: so far below the thread pointer as this
/// libc's record of a thread is long, which libc alone knows.
pub fn this_pthread() -> libc::pthread_t {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::pthread_self() }
}

/// Calls `body` with `argument` on the stack that ends at `top`. The frame is found
/// by `x29` (AAPCS64, 6.4.6), so that an unwinder comes back to the caller's stack.
///
/// # Safety
/// `top` must be the end of memory that is `body`'s alone, a multiple of 16; `body`
/// must not unwind.
#[unsafe(naked)]
pub unsafe extern "C" fn on_stack(
    argument: *mut c_void,
    body: extern "C" fn(*mut c_void),
    top: *mut c_void,
) {
    naked_asm!(
        ".cfi_startproc",
        "hint 34", // bti c
        "stp x29, x30, [sp, -16]!",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset x29, -16",
        ".cfi_offset x30, -8",
        "mov x29, sp",
        ".cfi_def_cfa_register x29",
        "mov sp, x2",
        "blr x1",
        "mov sp, x29",
        ".cfi_def_cfa_register sp",
        "ldp x29, x30, [sp], 16",
        ".cfi_restore x29",
        ".cfi_restore x30",
        ".cfi_def_cfa_offset 0",
        "ret",
        ".cfi_endproc",
    )
}

/// Jumps to a function by its name.
macro_rules! by_name {
    ($(#[$about:meta])* $own:ident = $name:literal ( $($argument:ident : $kind:ty),* ) -> $result:ty) => {
        $(#[$about])*
        #[unsafe(naked)]
        pub unsafe extern "C-unwind" fn $own($($argument: $kind),*) -> $result {
            core::arch::naked_asm!(
                "hint 34", // bti c
                concat!("adrp x16, :got:", $name),
                concat!("ldr x16, [x16, :got_lo12:", $name, "]"),
                "br x16",
            )
        }
    };
}

/// Exports `$name`, which calls `$before` and jumps to what that returns.
//
// The frame keeps what holds arguments (three integers or fewer, AAPCS64, 6.8.2; a
// fourth fills the pair) and the return address, which is back in `x30` at the
// branch: there ld.so looks for its caller (RTLD_NEXT, RTLD_DEFAULT).
#[macro_export]
macro_rules! tail_jump {
    ($name:ident, $before:path) => {
        #[unsafe(naked)]
        #[no_mangle]
        unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "hint 34", // bti c
                "stp x29, x30, [sp, -48]!",
                ".cfi_def_cfa_offset 48",
                ".cfi_offset x29, -48",
                ".cfi_offset x30, -40",
                "mov x29, sp",
                "stp x0, x1, [sp, 16]",
                "stp x2, x3, [sp, 32]",
                "bl {before}",
                "mov x16, x0",
                "ldp x0, x1, [sp, 16]",
                "ldp x2, x3, [sp, 32]",
                "ldp x29, x30, [sp], 48",
                ".cfi_restore x29",
                ".cfi_restore x30",
                ".cfi_def_cfa_offset 0",
                "br x16",
                ".cfi_endproc",
                before = sym $before,
            )
        }
    };
}

/// Exports `$name`, an indirect function whose resolver is `$resolver`.
#[macro_export]
macro_rules! indirect_function {
    ($name:ident, $resolver:path) => {
        #[unsafe(naked)]
        #[no_mangle]
        unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                concat!(".type ", stringify!($name), ", %gnu_indirect_function"),
                "hint 34", // bti c
                "b {resolver}",
                resolver = sym $resolver,
            )
        }
    };
}
