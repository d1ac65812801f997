//! The address to serve at: as people write it for other exporters.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::str::FromStr;

use crate::Failure;

/// `HOST:PORT`; without a host, every address of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    host: String,
    port: u16,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if text.parse::<u16>().is_ok() {
            return Err(format!(
                "a port alone: localhost:{text} is for this machine, :{text} for every address of it"
            ));
        }
        let (host, port) = text
            .rsplit_once(':')
            .ok_or("no port: write HOST:PORT".to_owned())?;
        let port = port
            .parse()
            .map_err(|_| format!("{port:?} is no port (0 to 65535)"))?;
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        if host.contains(':') && inner.is_none() {
            return Err(format!(
                "an IPv6 address stands in brackets: [{host}]:{port}"
            ));
        }
        Ok(Address {
            host: inner.unwrap_or(host).to_owned(),
            port,
        })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Address {
    fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        if self.host.is_empty() {
            // Of one port both, as Linux has it where IPv6 is on: the second is then taken by the first.
            return Ok(vec![
                (IpAddr::V6(Ipv6Addr::UNSPECIFIED), self.port).into(),
                (IpAddr::V4(Ipv4Addr::UNSPECIFIED), self.port).into(),
            ]);
        }
        Ok((self.host.as_str(), self.port).to_socket_addrs()?.collect())
    }

    /// Listens on every address that the host has: `localhost` is two.
    pub(crate) fn bind(&self) -> Result<Vec<TcpListener>, Failure> {
        let failed = |error| Failure::new(1, format!("cannot listen on {self}: {error}"));
        let mut listeners: Vec<TcpListener> = Vec::new();
        let mut first_error = None;
        for mut address in self.resolve().map_err(failed)? {
            // A free port was taken for the first: the others get the same.
            if let Some(Ok(bound)) = listeners.first().map(TcpListener::local_addr) {
                address.set_port(bound.port());
            }
            match TcpListener::bind(address) {
                Ok(listener) => listeners.push(listener),
                Err(error) if self.may_lack(&error, !listeners.is_empty()) => {
                    first_error = first_error.or(Some(error));
                }
                Err(error) => return Err(failed(error)),
            }
        }
        if listeners.is_empty() {
            let error = first_error.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into());
            return Err(failed(error));
        }
        Ok(listeners)
    }

    /// Whether an address may be left out: this machine has no IPv6; or all addresses are meant, and the
    /// socket of IPv6 has taken those of IPv4 with it (ipv6(7), `IPV6_V6ONLY`).
    fn may_lack(&self, error: &std::io::Error, any: bool) -> bool {
        let absent = matches!(
            error.raw_os_error(),
            Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
        );
        absent || (any && self.host.is_empty() && error.kind() == ErrorKind::AddrInUse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_write_it() {
        let shown = |text: &str| text.parse::<Address>().map(|address| address.to_string());
        for text in [
            ":9",
            "localhost:9",
            "127.0.0.1:0",
            "[::1]:9",
            "a.example:65535",
        ] {
            assert_eq!(shown(text).as_deref(), Ok(text));
        }
        for (text, why) in [
            ("9187", "localhost:9187"),
            ("localhost", "no port"),
            ("a:99999", "no port (0"),
            ("::1:9", "[::1]:9"),
            ("", "no port"),
        ] {
            assert!(shown(text).unwrap_err().contains(why), "{text}");
        }
    }
}
