//! The exported names on x86-64: what is written for this processor is here.
//!
//! Each puts the return address, which tells the caller, into the register
//! behind the function's last argument (System V ABI, AMD64 supplement, 3.2.3)
//! and jumps. The typed functions take it as one argument more.

macro_rules! export {
    ($($name:ident, $register:literal => $typed:path;)*) => {
        $(#[no_mangle]
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                concat!("mov ", $register, ", [rsp]"),
                "jmp {typed}",
                typed = sym $typed,
            )
        })*
    };
}

#[allow(non_snake_case)]
mod exports {
    use super::super::{cancel, connect};

    export! {
        PQgetCancel, "rsi" => cancel::get_cancel;
        PQfreeCancel, "rsi" => cancel::free_cancel;
        PQcancel, "rcx" => cancel::cancel;
        PQrequestCancel, "rsi" => cancel::request_cancel;
        PQcancelCreate, "rsi" => cancel::cancel_create;
        PQcancelBlocking, "rsi" => cancel::cancel_blocking;
        PQcancelStart, "rsi" => cancel::cancel_start;
        PQcancelPoll, "rsi" => connect::cancel_poll;
        PQcancelFinish, "rsi" => cancel::cancel_finish;
        PQconnectStart, "rsi" => connect::connect_start;
        PQconnectStartParams, "rcx" => connect::connect_start_params;
        PQconnectPoll, "rsi" => connect::connect_poll;
        PQresetStart, "rsi" => connect::reset_start;
        PQresetPoll, "rsi" => connect::reset_poll;
        PQreset, "rsi" => connect::reset;
        PQfinish, "rsi" => connect::finish;
    }
}
