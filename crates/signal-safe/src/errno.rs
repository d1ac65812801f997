//! Why a call failed, as a type of its own: no descriptor and no count can stand for it.

use core::ffi::c_int;

/// A failed call: the `errno` value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Errno(c_int);

impl Errno {
    /// No call has failed.
    pub const NONE: Errno = Errno(0);

    /// Of this value.
    #[inline]
    pub const fn of(value: c_int) -> Errno {
        Errno(value)
    }

    /// The value.
    #[inline]
    pub const fn value(self) -> c_int {
        self.0
    }
}

macro_rules! values {
    ($($name:ident)*) => {
        #[allow(missing_docs)] // errno(3) says what each means
        impl Errno {
            $(pub const $name: Errno = Errno(libc::$name);)*
        }
    };
}
values! {
    EAGAIN EALREADY EBADF EBUSY ECONNREFUSED EFAULT EFBIG EINPROGRESS EINTR EINVAL EIO EISCONN EMFILE ENAMETOOLONG
    ENOENT ENOMEM ENOSYS ENOTCONN ENOTSOCK EOPNOTSUPP EPERM EPIPE ESRCH ETIMEDOUT
}

impl From<Errno> for i64 {
    fn from(errno: Errno) -> i64 {
        i64::from(errno.0)
    }
}
