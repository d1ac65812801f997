//! libpq's objects and strings, each a type of its own: what is handed to the wrong function
//! does not compile.
//!
//! They are libpq's pointers and nothing more, so a shim takes them as the program gave them. libpq
//! takes a null connection or cancel everywhere, so these hold one as well.

use core::ffi::{c_char, c_int, c_void, CStr};
use core::marker::PhantomData;
use core::ptr::NonNull;

/// One machine word, as it lies in a register. All arguments and results of libpq's functions are
/// of the integer class.
pub(crate) trait ToWord {
    /// The word.
    fn word(self) -> usize;
}

/// What a word is taken for.
pub(crate) trait FromWord {
    /// The value.
    ///
    /// # Safety
    /// The word is libpq's, or was given to libpq, where a value of this type stands.
    unsafe fn of_word(word: usize) -> Self;
}

macro_rules! handles {
    ($($(#[$about:meta])* $name:ident)*) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(transparent)]
        pub(crate) struct $name(Option<NonNull<c_void>>);

        impl $name {
            /// None.
            pub(crate) const NULL: $name = $name(None);

            /// Whether it is none.
            #[inline]
            pub(crate) fn is_null(self) -> bool {
                self == Self::NULL
            }

            /// Where it lies, 0 for null: to find it in a table, or to keep it.
            #[inline]
            pub(crate) fn address(self) -> usize {
                self.word()
            }

            /// The one that lies there.
            ///
            /// # Safety
            /// The address is 0 or that of such an object, which libpq has not freed.
            #[inline]
            pub(crate) unsafe fn at(address: usize) -> Self {
                $name(NonNull::new(address as *mut c_void))
            }
        }

        impl ToWord for $name {
            #[inline]
            fn word(self) -> usize {
                self.0.map_or(0, |object| object.as_ptr() as usize)
            }
        }

        impl FromWord for $name {
            #[inline]
            unsafe fn of_word(word: usize) -> Self {
                // SAFETY: the caller's promise.
                unsafe { Self::at(word) }
            }
        }
    )*};
}

handles! {
    /// A connection, or null.
    PGconn
    /// What `PQgetCancel` made, or null.
    PGcancel
    /// What `PQcancelCreate` made, or null.
    PGcancelConn
    /// A function that the program gave `PQsetNoticeReceiver`, or null.
    NoticeReceiver
}

/// A type's id, or a large object's.
pub(crate) type Oid = u32;

/// A result. Not to be copied: [`Library::clear`](super::Library::clear) takes it away.
#[derive(PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct PGresult(NonNull<c_void>);

impl ToWord for &PGresult {
    #[inline]
    fn word(self) -> usize {
        self.0.as_ptr() as usize
    }
}

impl ToWord for Option<PGresult> {
    #[inline]
    fn word(self) -> usize {
        self.map_or(0, |result| (&result).word())
    }
}

impl FromWord for Option<PGresult> {
    #[inline]
    unsafe fn of_word(word: usize) -> Self {
        NonNull::new(word as *mut c_void).map(PGresult)
    }
}

/// A C string of libpq's, or one that it is given; or null.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Text<'a>(*const c_char, PhantomData<&'a CStr>);

impl<'a> Text<'a> {
    /// Its bytes without the NUL; `None` for null.
    pub(crate) fn bytes(self) -> Option<&'a [u8]> {
        // SAFETY: made of a C string, or by `of_word`'s promise; it lives as long as the type says.
        (!self.0.is_null()).then(|| unsafe { CStr::from_ptr(self.0) }.to_bytes())
    }
}

impl<'a> From<&'a CStr> for Text<'a> {
    fn from(text: &'a CStr) -> Self {
        Text(text.as_ptr(), PhantomData)
    }
}

impl ToWord for Text<'_> {
    #[inline]
    fn word(self) -> usize {
        self.0 as usize
    }
}

impl FromWord for Text<'_> {
    #[inline]
    unsafe fn of_word(word: usize) -> Self {
        Text(word as *const c_char, PhantomData)
    }
}

// By a cast, as C does it. Where a type is smaller than a register, the rest of it is not read.
macro_rules! words {
    ($([$($generic:tt)*] $kind:ty;)*) => {$(
        impl $($generic)* ToWord for $kind {
            #[inline]
            fn word(self) -> usize {
                self as usize
            }
        }

        impl $($generic)* FromWord for $kind {
            #[inline]
            unsafe fn of_word(word: usize) -> Self {
                word as $kind
            }
        }
    )*};
}
words! {
    [<T>] *const T;
    [<T>] *mut T;
    [] c_int;
    [] Oid;
    // What a shim hands on unread.
    [] usize;
}

/// A function that returns nothing leaves a register that nobody reads.
impl ToWord for () {
    #[inline]
    fn word(self) -> usize {
        0
    }
}

impl FromWord for () {
    #[inline]
    unsafe fn of_word(_: usize) -> Self {}
}
