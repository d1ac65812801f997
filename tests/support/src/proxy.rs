//! A TCP proxy on loopback in front of a server: a network that can be slow, cut, or silent.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How far the server's answers come through.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// So many bytes.
    Bytes(usize),
    /// To the end of the dial: the first `ReadyForQuery` of a plain connection.
    Ready,
}

/// What befalls connections made from now on.
#[derive(Clone)]
pub enum Network {
    /// Nothing.
    Good,
    /// Then no byte more in either direction; the connection stays open.
    Silent(Until),
    /// Then both ends are closed.
    Cut(Until),
    /// Then this happens first.
    Then(Until, Arc<dyn Fn() + Send + Sync>),
    /// So many bytes at a time, each piece so much later.
    Slow(usize, Duration),
    /// The server reports the second major version where it is of the first.
    Claims(u8, u8),
}

/// What the server says of its version, up to its number (`ParameterStatus`, protocol-message-formats.html).
fn version(number: u8) -> Vec<u8> {
    format!("server_version\0{number:02}.").into_bytes()
}

/// A proxy, for as long as the test's process lives.
pub struct Proxy {
    /// On 127.0.0.1.
    pub port: u16,
    listener: TcpListener,
    server: Arc<AtomicU16>,
    network: Arc<Mutex<Network>>,
    deaf: Arc<AtomicBool>,
}

impl Proxy {
    /// In front of the server at this port of 127.0.0.1.
    pub fn to(server: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy {
            port: listener.local_addr().unwrap().port(),
            listener: listener.try_clone().unwrap(),
            server: Arc::new(AtomicU16::new(server)),
            network: Arc::new(Mutex::new(Network::Good)),
            deaf: Arc::default(),
        };
        let (network, deaf) = (Arc::clone(&proxy.network), Arc::clone(&proxy.deaf));
        let server = Arc::clone(&proxy.server);
        std::thread::spawn(move || {
            while !deaf.load(Ordering::SeqCst) {
                let Ok((client, _)) = listener.accept() else {
                    return;
                };
                let network = network.lock().unwrap().clone();
                let server = server.load(Ordering::SeqCst);
                std::thread::spawn(move || carry(client, server, network));
            }
        });
        proxy
    }

    /// What befalls connections made from now on; those that are there are left alone.
    pub fn becomes(&self, network: Network) {
        *self.network.lock().unwrap() = network;
    }

    /// Connections made from now on lead to this port; those that are there are left alone.
    pub fn leads_to(&self, server: u16) {
        self.server.store(server, Ordering::SeqCst);
    }

    /// Nobody listens from now on; connections that are there are left alone.
    pub fn refuses(&self) {
        self.deaf.store(true, Ordering::SeqCst);
        // On Linux a listening socket then refuses.
        // SAFETY: our descriptor and a number.
        let done = unsafe { libc::shutdown(self.listener.as_raw_fd(), libc::SHUT_RD) };
        assert_eq!(done, 0);
    }

    /// SYN packets are dropped from now on, as by a firewall: nobody accepts, and the queue is full.
    pub fn drops_every_syn(&self) {
        self.deaf.store(true, Ordering::SeqCst);
        // One for the thread that waits in accept.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        std::thread::sleep(Duration::from_millis(50));
        // SAFETY: our descriptor and a number; a second call changes the length of the queue.
        assert_eq!(unsafe { libc::listen(self.listener.as_raw_fd(), 0) }, 0);
        let address = self.listener.local_addr().unwrap();
        for _ in 0..20 {
            match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
                Ok(stream) => std::mem::forget(stream),
                Err(_) => return,
            }
        }
        panic!("the queue does not fill up");
    }
}

/// Where in these bytes the server's answers end, if here.
fn end(bytes: &[u8], before: usize, until: Until) -> Option<usize> {
    match until {
        Until::Bytes(count) => {
            (before + bytes.len() >= count).then(|| count.saturating_sub(before))
        }
        // The message, whole (protocol-message-formats.html).
        Until::Ready => bytes.ends_with(b"Z\0\0\0\x05I").then_some(bytes.len()),
    }
}

fn carry(client: TcpStream, server: u16, network: Network) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
        return;
    };
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let halted = Arc::new(AtomicBool::new(false));
    let up = {
        let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let (halted, network) = (Arc::clone(&halted), network.clone());
        std::thread::spawn(move || pass(from, to, &network, &halted, false))
    };
    pass(server, client, &network, &halted, true);
    let _ = up.join();
}

fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    network: &Network,
    halted: &AtomicBool,
    down: bool,
) {
    let mut buffer = [0; 16384];
    let (mut before, mut done) = (0, false);
    let room = match network {
        Network::Slow(size, _) => *size,
        _ => buffer.len(),
    };
    while let Ok(count @ 1..) = from.read(&mut buffer[..room]) {
        if let (Network::Claims(true_one, other), true) = (network, down) {
            let (from, to) = (version(*true_one), version(*other));
            let place = buffer[..count]
                .windows(from.len())
                .position(|at| at == from);
            if let Some(at) = place {
                buffer[at..at + to.len()].copy_from_slice(&to);
            }
        }
        let bytes = &buffer[..count];
        if halted.load(Ordering::SeqCst) {
            continue; // read, and lost on its way
        }
        let mut sent = count;
        match network {
            Network::Slow(_, delay) => std::thread::sleep(*delay),
            Network::Then(until, action)
                if down && !done && end(bytes, before, *until).is_some() =>
            {
                done = true;
                action();
            }
            Network::Silent(until) | Network::Cut(until) if down => {
                if let Some(place) = end(bytes, before, *until) {
                    sent = place;
                    halted.store(true, Ordering::SeqCst);
                }
            }
            _ => {}
        }
        before += count;
        let failed = to.write_all(&bytes[..sent]).is_err();
        if failed || halted.load(Ordering::SeqCst) && matches!(network, Network::Cut(_)) {
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
    }
    if !halted.load(Ordering::SeqCst) {
        let _ = to.shutdown(Shutdown::Write);
    }
}
