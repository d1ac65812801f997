//! Every server and every libpq: what `equal` holds one pair to, held for the pairs asked for. `make test` takes
//! the oldest and the newest of both, `make servers` all.

use crate::equal::{number, prepare, sequences_of, Counts};
use crate::support::{own_of, root, Transport};

/// The versions that `tools/servers` fetches, the oldest first.
const SUPPORTED: [&str; 6] = ["13", "14", "15", "16", "17", "18"];

/// FORKGUARD_TEST_SERVERS: `all`, or some of them; the oldest and the newest if it is not set.
fn asked_for() -> Vec<&'static str> {
    let asked = std::env::var("FORKGUARD_TEST_SERVERS").unwrap_or_else(|_| "13 18".to_owned());
    let all = asked == "all";
    let named = |major: &&str| all || asked.split(' ').any(|one| one == *major);
    let asked: Vec<_> = SUPPORTED.into_iter().filter(named).collect();
    assert!(
        !asked.is_empty(),
        "FORKGUARD_TEST_SERVERS names none of {SUPPORTED:?}"
    );
    asked
}

/// The libpq of that version, for a program that is linked with one.
fn libpq(major: &str) -> String {
    let folder = root().join("target/servers").join(major).join("lib");
    folder.into_os_string().into_string().unwrap()
}

/// FORKGUARD_TEST_SEED repeats a run; FORKGUARD_TEST_SEQUENCES is how many histories each pair gets.
#[test]
fn a_childs_session_is_equal_or_lost_on_every_server_by_every_libpq() {
    if !cfg!(target_arch = "x86_64") {
        println!("not tested: this needs servers, which tools/servers has for x86-64 alone");
        return;
    }
    let seed = number("FORKGUARD_TEST_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_secs() * 1000
    });
    let many = number("FORKGUARD_TEST_SEQUENCES").unwrap_or(120);
    println!("FORKGUARD_TEST_SEED={seed}");
    for server in asked_for() {
        let cluster = prepare(own_of(server));
        for client in asked_for() {
            let run = |kind: &str, transport, user: &str, seed: u64, many: u64| -> Counts {
                let set = Some(("LD_LIBRARY_PATH", libpq(client)));
                let conninfo = cluster.conninfo(transport) + user;
                let counts = sequences_of(&cluster, &conninfo, kind, (seed, many), set);
                assert_eq!(counts.versions, format!("libpq {client}, server {server}"));
                counts
            };
            let counts = [
                run("traps", Transport::Unix, "", 0, 0),
                run("resumable", Transport::Tls, "", seed, many / 4),
                run("tenants", Transport::Unix, " user=app", seed, many / 4),
                run("settings", Transport::Unix, "", seed, many / 4),
                run("any", Transport::Unix, "", seed, many / 2),
            ];
            let sum = |of: fn(&Counts) -> u64| counts.iter().map(of).sum::<u64>();
            let (all, equal, lost) = (sum(|c| c.sequences), sum(|c| c.equal), sum(|c| c.lost));
            println!("server {server}, libpq {client}: {all} histories, {equal} equal, {lost} lost, 0 different");
            assert_eq!(equal + lost, all);
            assert!(3 * equal >= all, "too few are made again");
        }
    }
}
