//! A descriptor that the library holds, in a process that may close anything.

use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering::*};

use super::sys;

/// A descriptor, and the device and inode that it led to.
pub struct VerifiedDescriptor {
    fd: AtomicI32,
    device: AtomicU64,
    inode: AtomicU64,
}

impl VerifiedDescriptor {
    /// None yet.
    pub const fn none() -> Self {
        VerifiedDescriptor {
            fd: AtomicI32::new(-1),
            device: AtomicU64::new(0),
            inode: AtomicU64::new(0),
        }
    }

    /// Holds what is open at `fd` now. False if the kernel does not say what that is.
    pub fn adopt(&self, fd: c_int) -> bool {
        let Ok((device, inode)) = sys::file_identity(fd) else {
            return false;
        };
        self.device.store(device, Relaxed);
        self.inode.store(inode, Relaxed);
        self.fd.store(fd, Release);
        true
    }

    /// The descriptor, if it still leads where it did.
    pub fn descriptor(&self) -> Option<c_int> {
        let fd = self.fd.load(Acquire);
        let then = (self.device.load(Relaxed), self.inode.load(Relaxed));
        (fd >= 0 && then != (0, 0) && sys::file_identity(fd) == Ok(then)).then_some(fd)
    }
}
