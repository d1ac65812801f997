//! What befalls the server, or the way to it, between a fork and the child's first use of a session
//! that it inherited: equal, or lost in words that clients know, within the stated bound; and the
//! parent's sessions are what they would be without us. docs/RELIABILITY.md has the table.

use crate::facts::Facts;
use crate::support::{
    compile, own, python, wait_until, Cluster, Network, Outcome, Policy, Proxy, Run, Transport,
    Until,
};
use std::sync::Arc;
use std::time::Duration;

/// What the C client saw of one fault, and psycopg2 where it was asked.
struct Seen {
    c: Outcome,
    python: Option<Outcome>,
}

/// The environment that asks psycopg2 as well: half a second each, on a quiet machine.
const AND_PSYCOPG2: (&str, &str) = ("AND", "psycopg2");

/// The clients fork; `fault` happens; then their children use what they inherited.
fn with(
    policy: Option<Policy>,
    conninfo: &str,
    set: &[(&str, &str)],
    fault: impl FnOnce(),
) -> Seen {
    let meeting = tempfile::tempdir().unwrap();
    let prepare = |run: Run| {
        let run = run
            .arg(conninfo)
            .env("MEETING", meeting.path())
            .envs(set.iter().copied())
            .timeout(Duration::from_secs(240));
        match policy {
            Some(policy) => run.policy(policy),
            None => run,
        }
    };
    let c = prepare(Run::new(compile("server_faults")));
    let python = set
        .contains(&AND_PSYCOPG2)
        .then(|| prepare(python("server_faults")));
    std::thread::scope(|scope| {
        let c = scope.spawn(|| c.run());
        let python = python.map(|run| scope.spawn(|| run.run()));
        let there = |name: &str| meeting.path().join(name).exists();
        wait_until("the clients have forked", || {
            c.is_finished() || there("ready.c") && (python.is_none() || there("ready.py"))
        });
        fault();
        std::fs::write(meeting.path().join("go"), "").unwrap();
        Seen {
            c: c.join().unwrap(),
            python: python.map(|run| run.join().unwrap()),
        }
    })
}

fn resumed_with(conninfo: &str, set: &[(&str, &str)], fault: impl FnOnce()) -> Seen {
    with(Some(Policy::Resume), conninfo, set, fault)
}

fn resumed(conninfo: &str, fault: impl FnOnce()) -> Seen {
    resumed_with(conninfo, &[], fault)
}

fn psycopg2_too(conninfo: &str, fault: impl FnOnce()) -> Seen {
    resumed_with(conninfo, &[AND_PSYCOPG2], fault)
}

/// What the clients' parents hold, `name`, is answered by their own backends.
#[track_caller]
fn own_backend(outcome: &Outcome, name: &str) -> bool {
    let backend = format!("by backend {}", outcome.fact("backend"));
    outcome.fact(name).ends_with(&backend)
}

impl Seen {
    /// The children's sessions are new ones, equal to their parents'.
    #[track_caller]
    fn equal(&self) -> &Seen {
        let told = self.c.ok().fact("child");
        self.c
            .check(told.starts_with("answered by backend "), "resumed")
            .check(!own_backend(&self.c, "child"), "not the parent's")
            .check(told == self.c.fact("again"), "the same again")
            .check(
                self.c.fact("state in the child") == self.c.facts("state")[0],
                "equal",
            );
        if let Some(python) = &self.python {
            let told = python.ok().fact("child");
            python
                .check(told.starts_with("answered one by backend "), "resumed")
                .check(!own_backend(python, "child"), "not the parent's");
        }
        self
    }

    /// The children's sessions are lost, in words of clients' own, and the log says once why.
    #[track_caller]
    fn lost(&self, why: &str) -> &Seen {
        for outcome in std::iter::once(&self.c).chain(&self.python) {
            let reasons = outcome.stderr.lines();
            let reasons: Vec<_> = reasons
                .filter(|line| line.contains("is lost in this child"))
                .collect();
            outcome.ok().check(
                reasons.len() == 1 && outcome.stderr.contains(why),
                &format!("the reason, once: {why:?}"),
            );
        }
        self.c
            .check(self.c.fact("child").starts_with("bad, "), "lost")
            .check(self.c.fact("again").starts_with("bad, "), "for good")
            .check(self.c.fact("ended") == "exit 0", "no hang, no crash");
        if let Some(python) = &self.python {
            let told = python.fact("child");
            python.check(
                told.starts_with("OperationalError, disconnect"),
                "psycopg2's class, and SQLAlchemy throws the connection away",
            );
        }
        self
    }

    /// The children were answered, one way or the other, within so many milliseconds.
    #[track_caller]
    fn within(&self, milliseconds: std::ops::Range<u64>) -> &Seen {
        let took: u64 = self.c.fact("took").parse().unwrap();
        self.c.check(milliseconds.contains(&took), "in time");
        let again: u64 = self.c.fact("took again").parse().unwrap();
        self.c.check(again < 1000, "and at once from then on");
        self
    }

    /// The parents' sessions, with a transaction and a temporary table, are what they were.
    #[track_caller]
    fn parent_untouched(&self) -> &Seen {
        self.c
            .undisturbed()
            .check(own_backend(&self.c, "parent"), "the parent's")
            .check(
                self.c.facts("state")[0] == self.c.facts("state")[1],
                "the parent's, as it was",
            );
        if let Some(python) = &self.python {
            let told = python.fact("parent");
            python
                .check(own_backend(python, "parent"), "the parent's")
                .check(told.starts_with("answered one "), "as it was");
        }
        self
    }

    /// The server has ended the parents' sessions, and they are told as without us.
    #[track_caller]
    fn parent_told(&self) -> &Seen {
        self.c
            .check(self.c.fact("before") != self.c.fact("after"), "ended")
            .check(!self.c.fact("parent").starts_with("answered"), "and told");
        if let Some(python) = &self.python {
            let told = python.fact("parent");
            python.check(told.contains("Error, disconnect, "), "told");
        }
        self
    }
}

/// One with a table that names it.
fn server(name: &str) -> Cluster {
    let server = own();
    name_it(&server, name);
    server
}

fn name_it(server: &Cluster, name: &str) {
    server.ask(&format!(
        "create table whose (name text); insert into whose values ('of {name}'); grant select on whose to public"
    ));
}

fn over_tcp(server: &Cluster, port: u16) -> String {
    format!("{} port={port}", server.conninfo(Transport::Tcp))
}

#[test]
fn stopped_and_started() {
    let server = server("one server");
    let unix = server.conninfo(Transport::Unix);
    for mode in ["fast", "immediate"] {
        let seen = psycopg2_too(&unix, || server.stop(mode));
        seen.lost("Is the server running")
            .parent_told()
            .within(0..10_000);
        server.start();
    }
    // Its parents' own sessions are gone, as without us.
    let again = || {
        server.stop("immediate");
        server.start();
    };
    with(None, &unix, &[], again).parent_told();
    psycopg2_too(&unix, again)
        .lost("has been restarted since")
        .parent_told();

    // In the middle of the dial, and between it and the replay.
    let server = Arc::new(server);
    let proxy = Proxy::to(server.port);
    for (mode, until) in [
        ("fast", Until::Bytes(20)),
        ("immediate", Until::Bytes(20)),
        ("fast", Until::Ready),
        ("immediate", Until::Ready),
    ] {
        let its = Arc::clone(&server);
        let once = std::sync::Once::new();
        let stop = move || once.call_once(|| its.stop(mode));
        let seen = resumed(&over_tcp(&server, proxy.port), || {
            proxy.becomes(Network::Then(until, Arc::new(stop)));
        });
        seen.lost("").parent_told().within(0..10_000);
        proxy.becomes(Network::Good);
        server.start();
    }
}

#[test]
fn another_server_in_its_place() {
    // Another cluster took the port: the same names, other data. And one more host in the list.
    let (first, second) = (server("the first"), server("the second"));
    let proxy = Proxy::to(first.port);
    let conninfo = over_tcp(&first, proxy.port);
    let seen = resumed(&conninfo, || {
        second.stop("fast");
        second.start();
        proxy.leads_to(second.port);
    });
    seen.lost("another one took its place").parent_untouched();
    // The program's own connection would have read the other's rows without a word.
    second.ask("select 1");
    let other = Run::new("psql")
        .args(["-XAt", "-c", "select name from whose", &conninfo])
        .run();
    other.ok().must_say("of the second");

    let hosts = format!("{},{}", proxy.port, second.port);
    let both = format!(
        "{} host=127.0.0.1,127.0.0.1 port={hosts}",
        first.conninfo(Transport::Tcp)
    );
    proxy.leads_to(first.port);
    resumed(&both, || proxy.refuses())
        .lost("reached another address")
        .parent_untouched();

    // A standby becomes the primary: its old sessions live on, and say so with their next answer.
    let standby = first.standby();
    let conninfo = standby.conninfo(Transport::Unix);
    let first_use = |after: &str| {
        let run = Run::new(compile("resume")).args([&conninfo, "changed", "shell"]);
        run.env("STATEMENT", "set work_mem to '7MB'")
            .env("ACTION", after)
            .policy(Policy::Resume)
            .run()
    };
    let promoted = first_use(&format!(
        "LD_PRELOAD= psql -XAtq -h {} -p {} -U forkguard -c 'select pg_promote()'",
        standby.socket_dir.display(),
        standby.port
    ));
    promoted
        .ok()
        .check(promoted.fact("child").starts_with("bad, "), "lost")
        .must_say("differs from the parent's: in_hot_standby")
        .check(own_backend(&promoted, "parent"), "the parent's");
    let again = first_use("true");
    again.ok().check(
        again.fact("child").starts_with("answered by "),
        "a primary now",
    );
}

#[test]
fn no_connection_to_be_had() {
    let server = server("a full server");
    server.ask("create role plain login");
    let limited = server.conninfo(Transport::Unix) + " user=plain";
    // Each of the clients' parents has one already.
    psycopg2_too(&limited, || {
        server.ask("alter role plain connection limit 1");
    })
    .lost("too many connections for role")
    .parent_untouched();

    server.ask("alter role plain connection limit -1");
    server.ask("alter system set max_connections to 8");
    server.stop("fast");
    server.start();
    let mut taken = Vec::new();
    for (user, why) in [
        ("plain", "remaining connection slots are reserved"),
        ("forkguard", "sorry, too many clients already"),
    ] {
        let conninfo = format!("{} user={user}", server.conninfo(Transport::Unix));
        // One client alone: another one's end would leave a place.
        let seen = resumed(&conninfo, || taken = fill(&server, &conninfo, why));
        seen.lost(why).parent_untouched().within(0..5_000);
        for process in &mut taken {
            let _ = process.kill();
            let _ = process.wait();
        }
        wait_until("they are gone", || {
            let log = Run::new("psql")
                .args([
                    "-XAt",
                    "-c",
                    "select count(*) from pg_stat_activity where backend_type = 'client backend'",
                ])
                .arg(server.conninfo(Transport::Unix))
                .run();
            log.stdout.trim() == "1"
        });
    }
}

/// Takes connections until the server says that none is left.
fn fill(server: &Cluster, conninfo: &str, full: &str) -> Vec<std::process::Child> {
    let mut taken: Vec<std::process::Child> = Vec::new();
    for _ in 0..20 {
        let mark = server.log_mark();
        let process = std::process::Command::new("psql")
            .args(["-X", conninfo])
            .stdin(std::process::Stdio::piped())
            .env_remove("LD_PRELOAD")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        taken.push(process);
        let mut log = String::new();
        wait_until("it is in, or refused", || {
            log = server.log_since(mark);
            log.contains("connection authorized") || log.contains(full)
        });
        if log.contains(full) {
            return taken;
        }
    }
    panic!("it is never full");
}

#[test]
fn the_network() {
    let server = server("a far server");
    let direct = over_tcp(&server, server.port);
    // Slow, and in pieces of any size: a little later, the same.
    for (size, delay) in [(16384, 300), (1, 1)] {
        let proxy = Proxy::to(server.port);
        resumed(&over_tcp(&server, proxy.port), || {
            proxy.becomes(Network::Slow(size, Duration::from_millis(delay)));
        })
        .equal()
        .parent_untouched()
        .within(300..30_000);
    }
    for (network, why) in [
        (Network::Cut(Until::Bytes(0)), "reconnecting failed"),
        (Network::Cut(Until::Bytes(100)), "reconnecting failed"),
        (Network::Cut(Until::Ready), "its replay failed"),
    ] {
        let proxy = Proxy::to(server.port);
        resumed(&over_tcp(&server, proxy.port), || proxy.becomes(network))
            .lost(why)
            .parent_untouched()
            .within(0..5_000);
    }
    // Silent: whatever is waited for, as long as the client's own connect_timeout says.
    for (until, why) in [
        (Until::Bytes(0), "timeout expired"),
        (Until::Bytes(100), "timeout expired"),
        (Until::Ready, "the server does not answer in time: 2 s"),
    ] {
        let proxy = Proxy::to(server.port);
        let conninfo = over_tcp(&server, proxy.port) + " connect_timeout=2";
        psycopg2_too(&conninfo, || proxy.becomes(Network::Silent(until)))
            .lost(why)
            .parent_untouched()
            .within(1_000..6_000);
    }
    // Packets dropped before there is a connection: the same, or the kernel's bound.
    for bound in ["connect_timeout=2", "tcp_user_timeout=1500"] {
        let proxy = Proxy::to(server.port);
        let conninfo = format!("{} {bound}", over_tcp(&server, proxy.port));
        resumed(&conninfo, || proxy.drops_every_syn())
            .lost("reconnecting failed")
            .parent_untouched()
            .within(1_000..10_000);
    }
    resumed(&direct, || {}).equal().parent_untouched();
}

/// Where the client has set no bound there is one of the library's, in every phase.
#[test]
fn silence_with_no_timeout_set() {
    let server = server("a silent server");
    const WAIT: (&str, &str) = ("FORKGUARD_CONNECT_WAIT", "2");
    let no_answer = "the server does not answer in time: 2 s";
    let conninfo = |proxy: &Proxy| {
        let conninfo = over_tcp(&server, proxy.port);
        assert!(!conninfo.contains("connect_timeout"));
        conninfo
    };
    for until in [Until::Bytes(0), Until::Bytes(100), Until::Ready] {
        let proxy = Proxy::to(server.port);
        resumed_with(&conninfo(&proxy), &[WAIT, AND_PSYCOPG2], || {
            proxy.becomes(Network::Silent(until))
        })
        .lost(no_answer)
        .parent_untouched()
        .within(1_000..10_000);
    }
    let proxy = Proxy::to(server.port);
    resumed_with(&conninfo(&proxy), &[WAIT], || proxy.drops_every_syn())
        .lost(no_answer)
        .parent_untouched()
        .within(1_000..10_000);
}

#[test]
fn authentication_changed() {
    let server = server("a strict server");
    let unix = server.conninfo(Transport::Unix);
    // Unguarded, a child goes on as its parent: that it may not connect any more is no matter.
    for sql in [
        "create role app login; create role other login; create role going login",
        "create database shop",
        "create role one; grant one to app",
        "set password_encryption to 'scram-sha-256'; create role secret login password 'before'",
    ] {
        server.ask(sql);
    }
    let as_ = |user: &str| format!("{unix} user={user}");
    let change = |sql: &'static str| {
        let server = &server;
        move || {
            server.ask(sql);
        }
    };
    let fault = with(None, &as_("app"), &[], change("alter role app nologin"));
    fault.c.check(
        own_backend(&fault.c, "child"),
        "the fault: on its parent's session",
    );
    server.ask("alter role app login");

    resumed(&as_("app"), || server.admit("local all app reject"))
        .lost("pg_hba.conf rejects connection")
        .parent_untouched();
    server.admit("local all secret scram-sha-256");
    let password = as_("secret") + " password=before";
    resumed(&password, || {}).equal().parent_untouched();
    psycopg2_too(&password, change("alter role secret password 'after'"))
        .lost("password authentication failed")
        .parent_untouched();
    server.admit("");
    psycopg2_too(&as_("app"), change("alter role app nologin"))
        .lost("is not permitted to log in")
        .parent_untouched();
    server.ask("alter role app login");
    resumed(&as_("app"), change("alter role app superuser")).lost("is_superuser");
    server.ask("alter role app nosuperuser");

    // What the user may do is asked anew by the new connection: dropped for good, it has none. Made
    // anew by the same name it is the user that a new connection is, as with every other cure.
    let held = [("HELD", unix.as_str())]; // a temporary table would keep its role
    let made_anew = change("drop role going; create role going login");
    let seen = resumed_with(&as_("going"), &held, made_anew);
    seen.equal().c.undisturbed();
    let seen = resumed_with(&as_("going"), &held, change("drop role going"));
    seen.lost("does not exist").c.undisturbed();

    // The defaults that a session begins with.
    let set = [("STATEMENT", "set role one")];
    resumed_with(&as_("app"), &set, || {})
        .equal()
        .parent_untouched();
    resumed_with(&as_("app"), &set, change("revoke one from app"))
        .lost("permission denied to set role")
        .parent_untouched();
    // What the program has set is set again, whatever the default is; what it has not, or has given
    // up, is today's default.
    for (sql, undo) in [
        (
            "alter role app set app.tenant to 'two'",
            "alter role app reset all",
        ),
        (
            "alter role app in database forkguard set app.tenant to 'two'",
            "alter role app in database forkguard reset all",
        ),
        (
            "alter database forkguard set app.tenant to 'two'",
            "alter database forkguard reset all",
        ),
        (
            "alter role all set app.tenant to 'two'",
            "alter role all reset all",
        ),
    ] {
        resumed(&as_("app"), || drop(server.ask(sql)))
            .equal()
            .parent_untouched();
        server.ask(undo);
        // Nobody has changed anything since.
        server.ask(sql);
        resumed(&as_("app"), || {}).equal().parent_untouched();
        server.ask(undo);
        let given_up = [("STATEMENT", "discard all")];
        let seen = resumed_with(&as_("app"), &given_up, || drop(server.ask(sql)));
        let state = |name| seen.c.facts(name)[0].split(',').next();
        seen.parent_untouched().c.check(
            state("state") == Some("") && state("state in the child") == Some("two"),
            "today's default",
        );
        server.ask(undo);
    }
    let seen = resumed(
        &as_("app"),
        change("grant one to app; alter role app set role to one"),
    );
    seen.parent_untouched().c.check(
        seen.c.fact("state in the child").contains(", one of app, "),
        "today's default role",
    );
    server.ask("alter role app reset all");
    // Of those the server knows, what it reports; no other.
    resumed(
        &as_("app"),
        change("alter role app set timezone to 'Asia/Tokyo'"),
    )
    .lost("a setting has another value after its replay: TimeZone")
    .parent_untouched();
    server.ask("alter role app reset all");
    let seen = resumed(
        &as_("app"),
        change("alter role app set search_path to public, pg_catalog"),
    );
    seen.c.check(
        seen.c
            .fact("state in the child")
            .contains("path public, pg_catalog"),
        "today's default",
    );
    server.ask("alter role app reset all");

    // A database cannot be renamed while it is used; its sessions end first.
    let shop = unix + " dbname=shop";
    server.ask_in(
        "shop",
        "create table whose (name text); insert into whose values ('of the shop')",
    );
    let seen = resumed(&shop, || {
        server.ask(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = 'shop'",
        );
        server.ask("alter database shop rename to shop_of_yesterday");
    });
    seen.lost("database \"shop\" does not exist").parent_told();
    server.ask("alter database shop_of_yesterday rename to shop");
    // And another has its name: not noticed, docs/RELIABILITY.md says so.
    let seen = resumed(&shop, || {
        server.ask(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = 'shop'",
        );
        server.ask("alter database shop rename to shop_of_yesterday");
        server.ask("create database shop template shop_of_yesterday");
    });
    seen.parent_told();
    seen.c.check(
        seen.c.fact("child").starts_with("answered by "),
        "not noticed",
    );
}

#[test]
fn certificates() {
    let server = server("a server with a certificate");
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let its = |name: &str| server.data().join(name);
    let openssl = |args: &[&str]| {
        Run::new("openssl").args(args).run().ok();
    };
    // The server's own, and one of the same key and name that has expired.
    let keep = |name: &str, from: &std::path::Path| {
        std::fs::write(at(name), std::fs::read(from).unwrap()).unwrap();
    };
    keep("good.key", &its("server.key"));
    keep("good.crt", &its("server.crt"));
    let names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
    std::fs::write(at("names"), names).unwrap();
    openssl(&[
        "req",
        "-new",
        "-key",
        &at("good.key"),
        "-subj",
        "/CN=localhost",
        "-out",
        &at("request"),
    ]);
    openssl(&[
        "x509",
        "-req",
        "-in",
        &at("request"),
        "-signkey",
        &at("good.key"),
        "-days",
        "-1",
        "-extfile",
        &at("names"),
        "-out",
        &at("expired.crt"),
    ]);
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        names,
        "-keyout",
        &at("other.key"),
        "-out",
        &at("other.crt"),
    ]);
    let shows = |certificate: &str, key: &str| {
        std::fs::write(its("server.crt"), std::fs::read(at(certificate)).unwrap()).unwrap();
        std::fs::write(its("server.key"), std::fs::read(at(key)).unwrap()).unwrap();
        server.reload();
    };
    // Both are trusted: the one has nothing wrong but its date.
    let trust = || {
        let both =
            ["good.crt", "expired.crt"].map(|name| std::fs::read_to_string(at(name)).unwrap());
        std::fs::write(at("root.crt"), both.concat()).unwrap();
    };
    trust();
    let verified = Run::new("openssl")
        .args(["verify", "-CAfile", &at("root.crt"), &at("expired.crt")])
        .run();
    verified.must_say("certificate has expired");
    let conninfo = format!(
        "{} sslmode=verify-full sslrootcert={}",
        server.conninfo(Transport::Tls),
        at("root.crt")
    );
    psycopg2_too(&conninfo, || {}).equal().parent_untouched();
    psycopg2_too(&conninfo, || shows("expired.crt", "good.key"))
        .lost("certificate verify failed")
        .parent_untouched();
    shows("good.crt", "good.key");
    psycopg2_too(&conninfo, || shows("other.crt", "other.key"))
        .lost("certificate verify failed")
        .parent_untouched();
    shows("good.crt", "good.key");
    resumed(&conninfo, || std::fs::remove_file(at("root.crt")).unwrap())
        .lost("root.crt\" does not exist")
        .parent_untouched();
    trust();
    resumed(&conninfo, || {
        std::fs::write(at("root.crt"), std::fs::read(at("other.crt")).unwrap()).unwrap()
    })
    .lost("certificate verify failed")
    .parent_untouched();
    trust();

    // TLS goes away at the server: never plain without a word.
    for (mode, why) in [
        ("verify-full", "server does not support SSL"),
        ("prefer", "no encryption, where the parent's session had it"),
    ] {
        let conninfo = format!("{conninfo} sslmode={mode}");
        resumed(&conninfo, || {
            server.ask("alter system set ssl to off");
            server.reload();
        })
        .lost(why)
        .parent_untouched();
        server.ask("alter system reset ssl");
        server.reload();
    }
    // Without us a program that dials again under sslmode=prefer is not told.
    server.ask("alter system set ssl to off");
    server.reload();
    let plain = Run::new("psql")
        .args([
            "-XAt",
            "-c",
            "select ssl from pg_stat_ssl where pid = pg_backend_pid()",
        ])
        .arg(format!("{conninfo} sslmode=prefer"))
        .run();
    plain.ok().check(plain.stdout.trim() == "f", "the fault");
}
