//! A socket's peer as text, for the log.

use core::fmt::Write;
use core::mem::{offset_of, size_of};
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use forkguard_signal_safe::descriptors::PeerText;
use forkguard_signal_safe::sys;

/// Text that is cut where it ends.
struct Cut<'a>(&'a mut [u8], usize);

impl Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for (place, byte) in self.0[self.1..].iter_mut().zip(text.bytes()) {
            *place = byte;
            self.1 += 1;
        }
        Ok(())
    }
}

/// The peer of the socket at `fd`; `?` where the kernel will not say.
pub(crate) fn text_of(fd: i32) -> PeerText {
    // SAFETY: all zeroes is a valid address of no family.
    let mut address: libc::sockaddr_storage = unsafe { core::mem::zeroed() };
    let length = sys::peer(fd, &mut address).unwrap_or(0);
    format(&address, length)
}

fn format(address: &libc::sockaddr_storage, length: usize) -> PeerText {
    let mut text = [0; size_of::<PeerText>()];
    let mut cut = Cut(&mut text, 0);
    let start = &raw const *address;
    // SAFETY: sockaddr_storage is large enough, and aligned, for every family's address.
    let (v4, v6, unix) = unsafe {
        (
            &*start.cast::<libc::sockaddr_in>(),
            &*start.cast::<libc::sockaddr_in6>(),
            &*start.cast::<libc::sockaddr_un>(),
        )
    };
    let _ = match i32::from(address.ss_family) {
        libc::AF_INET => {
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            write!(cut, "{}", SocketAddrV4::new(ip, u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            write!(
                cut,
                "{}",
                SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, 0)
            )
        }
        libc::AF_UNIX => {
            let path = unix.sun_path.map(|byte| byte as u8);
            let used = length
                .saturating_sub(offset_of!(libc::sockaddr_un, sun_path))
                .min(path.len());
            write_path(&mut cut, &path[..used])
        }
        _ => cut.write_str("?"),
    };
    text
}

/// A path, `@` for an abstract one's first byte; of a long one the end.
fn write_path(cut: &mut Cut, path: &[u8]) -> core::fmt::Result {
    let abstract_name = path.first() == Some(&0) && path.len() > 1;
    let end = path
        .iter()
        .skip(usize::from(abstract_name))
        .position(|byte| *byte == 0);
    let path = &path[..end.map_or(path.len(), |end| end + usize::from(abstract_name))];
    let room = cut.0.len();
    let (dots, path) = match path.len().checked_sub(room) {
        None | Some(0) => ("", path),
        Some(over) => ("...", &path[over + 3..]),
    };
    cut.write_str(dots)?;
    for byte in path {
        let byte = match *byte {
            0 => b'@',
            byte if byte.is_ascii_graphic() => byte,
            _ => b'?',
        };
        cut.write_str(core::str::from_utf8(&[byte]).unwrap_or("?"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use forkguard_signal_safe::descriptors::trimmed;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::string::ToString;

    fn shown(text: &PeerText) -> &str {
        core::str::from_utf8(trimmed(text)).unwrap_or("?")
    }

    #[test]
    fn addresses_read_as_people_write_them() {
        use std::net::{TcpListener, TcpStream};
        use std::os::fd::AsRawFd;
        for host in ["127.0.0.1", "[::1]"] {
            let Ok(listener) = TcpListener::bind(std::format!("{host}:0")) else {
                continue;
            };
            let address = listener.local_addr().unwrap();
            let stream = TcpStream::connect(address).unwrap();
            assert_eq!(shown(&text_of(stream.as_raw_fd())), address.to_string());
        }
    }

    #[test]
    fn of_a_long_path_the_end_is_kept() {
        use std::os::fd::AsRawFd;
        let folder = tempfile::tempdir().unwrap();
        let path = folder
            .path()
            .join("a-folder-whose-name-is-longer-than-the-text.s.PGSQL.5432");
        let _listener = UnixListener::bind(&path).unwrap();
        let stream = UnixStream::connect(&path).unwrap();
        let text = text_of(stream.as_raw_fd());
        assert!(shown(&text).starts_with("..."), "{}", shown(&text));
        assert!(shown(&text).ends_with(".s.PGSQL.5432") && shown(&text).len() == 48);
    }

    #[test]
    fn no_socket_no_peer() {
        assert_eq!(shown(&text_of(-1)), "?");
    }
}
