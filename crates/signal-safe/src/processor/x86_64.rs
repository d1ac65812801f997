//! x86-64, System V ABI (AMD64 supplement).

use core::arch::naked_asm;
use core::ffi::c_void;

/// Whether `dlsym` is interposed, and libpq's functions can be redirected.
pub const HAS_TRAMPOLINE: bool = true;

/// Whether a relocation of this type puts a function's address into its slot
/// (4.4: `R_X86_64_64`, `R_X86_64_GLOB_DAT`, `R_X86_64_JUMP_SLOT`).
pub fn is_function_address(kind: u32) -> bool {
    matches!(kind, 1 | 6 | 7)
}

/// This thread, as `pthread_self(3)` names it, without the call: the address of
/// its control block, of which the first word is that address (ELF Handling For
/// Thread-Local Storage, 3.4.2).
#[inline(always)]
pub fn this_thread() -> usize {
    let thread;
    // SAFETY: reads the word described above, which every thread has.
    unsafe {
        core::arch::asm!("mov {}, fs:[0]", out(reg) thread, options(nostack, preserves_flags, readonly));
    }
    thread
}

/// This thread, as `pthread_self(3)` names it.
pub fn this_pthread() -> libc::pthread_t {
    this_thread() as libc::pthread_t
}

/// Calls `body` with `argument` on the stack that ends at `top`. The frame is found
/// by `rbp` (3.2.2), so that an unwinder comes back to the caller's stack.
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
        "endbr64",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "mov rsp, rdx",
        "call rsi",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
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
            core::arch::naked_asm!(concat!("jmp qword ptr [rip + ", $name, "@GOTPCREL]"))
        }
    };
}

/// Exports `$name`, which calls `$before` and jumps to what that returns.
//
// Three pushes align the stack for the call (3.2.2), and keep the three
// registers that hold the arguments; floating-point arguments there are none.
// The jump leaves the caller's return address on top of the stack, which is
// where ld.so looks for its caller (RTLD_NEXT, RTLD_DEFAULT).
#[macro_export]
macro_rules! tail_jump {
    ($name:ident, $before:path) => {
        #[unsafe(naked)]
        #[no_mangle]
        unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "endbr64",
                "push rdi",
                ".cfi_adjust_cfa_offset 8",
                "push rsi",
                ".cfi_adjust_cfa_offset 8",
                "push rdx",
                ".cfi_adjust_cfa_offset 8",
                "call {before}",
                "pop rdx",
                ".cfi_adjust_cfa_offset -8",
                "pop rsi",
                ".cfi_adjust_cfa_offset -8",
                "pop rdi",
                ".cfi_adjust_cfa_offset -8",
                "jmp rax",
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
                concat!(".type ", stringify!($name), ", @gnu_indirect_function"),
                "endbr64",
                "jmp {resolver}",
                resolver = sym $resolver,
            )
        }
    };
}
