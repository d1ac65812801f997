//! The environment is inherited: what a guarded program runs is run under the library, too, and
//! says and does the same as without.

use crate::support::{cluster, Outcome, Run, Transport};

/// Each is run by bash in an empty folder. What they make, they show the sum of.
const COMMANDS: [(&str, &str); 17] = [
    // The key of \restrict is a new one each time.
    ("pg_dump", "pg_dump --no-owner -t inherited | sed '/restrict /d'; echo ${PIPESTATUS[0]}; pg_dump -t nothing"),
    ("pg_dump to files, in parallel", "pg_dump -Fd -j2 -f dump -t inherited && pg_restore -f - dump | sed '/restrict /d'; echo ${PIPESTATUS[0]}"),
    ("psql", "psql -XAt -c 'select n from inherited order by n' -c 'select 1/0' -c '\\q'"),
    ("git", r#"export HOME=$PWD GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'
git config --global user.name a && git config --global user.email a@b && git config --global init.defaultBranch main
git init -q r && cd r && for i in 1 2 3; do echo $i >f$i && git add . && git commit -qm c$i || exit 1; done
git log --stat --format='%H %s' && git gc -q && git fsck && git clone -q . ../copy && git -C ../copy status && git diff HEAD~1; git show nothing"#),
    ("gcc and make", r#"printf 'int one(void) { return 1; }\n' >one.c; printf '#include <stdio.h>\nint one(void); int main(void) { printf("%%d\\n", one()); }\n' >main.c
printf 'p: one.o main.o\n\tgcc -o $@ $^\n%%.o: %%.c\n\tgcc -c -O2 -o $@ $<\n' >Makefile
make -s -j2 p && ./p && sha256sum p *.o; make nothing; gcc nothing.c"#),
    ("g++", r#"printf '#include <iostream>\nint main() { std::cout << "x" << std::endl; throw 1; }\n' >m.cpp; g++ -O1 -o m m.cpp && sha256sum m && ./m; echo $?"#),
    ("pipes", r#"yes | head -3; seq 1000 | sort -R --random-source=/dev/zero | sort -n | tail -2; echo ${PIPESTATUS[@]}; seq 5 | (read a; cat) ; false | true; echo ${PIPESTATUS[@]}"#),
    ("dash", r#"sh -c 'a=$(echo x | tr x y); echo $a; (exit 3); echo $?; kill -9 $$'; echo $?"#),
    ("background", r#"for i in 1 2 3; do (exit $i) & p="$p $!"; done; for i in $p; do wait $i; echo $?; done; coproc cat; echo in >&"${COPROC[1]}"; read -u "${COPROC[0]}" line; echo $line"#),
    ("xargs", "seq 20 | xargs -P2 -n1 sh -c 'echo $0' | sort -n; seq 3 | xargs -n1 false; echo $?"),
    ("tar", r#"mkdir d && seq 1000 >d/a && tar --sort=name --mtime=@0 --owner=0 --group=0 -czf t.tgz d && sha256sum t.tgz && mkdir e && tar -xzf t.tgz -C e && cmp d/a e/d/a && tar -tvf nothing.tar"#),
    ("ssh-keygen", r#"printf 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f a\n' >k.pub; ssh-keygen -l -f k.pub; ssh-keygen -e -f k.pub; ssh-keygen -l -f nothing"#),
    ("openssl", "printf x | openssl dgst -sha256; openssl enc -aes-256-cbc -K 00 -iv 00 </dev/null | sha256sum; openssl nothing 2>&1 | head -1"),
    ("python", r#"python3 -c '
import subprocess, multiprocessing, os, sys
print(subprocess.run(["sh", "-c", "cat; exit 4"], input=b"x", capture_output=True))
with multiprocessing.get_context("fork").Pool(2) as pool: print(pool.map(abs, range(-5, 0)))
pid = os.fork()
if pid == 0: os._exit(9)
print(os.waitpid(pid, 0)[1]); sys.stdout.flush(); raise SystemExit(5)'"#),
    ("perl", r#"perl -e '$| = 1; my $p = fork; exit 6 unless $p; waitpid $p, 0; print $? >> 8, "\n"; print `echo x`; open F, "-|", "seq 3"; print <F>; die "end\n"'"#),
    ("find", "mkdir -p a/b/c && touch a/b/c/d && find . -type f -exec sh -c 'echo $1' _ {} \\; ; find nothing"),
    ("limits and descriptors", r#"ulimit -n 20; exec 9>file; echo x >&9; ls -l /proc/self/fd | wc -l; cat <(echo y) file; ulimit -n"#),
];

fn run(command: &str, policy: Option<&str>) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    // `make test` may have started us, and a make that knows of another one tells its folder.
    let command = format!("unset MAKELEVEL MAKEFLAGS MFLAGS; {command}");
    let run = Run::new("bash")
        .args(["-c", &command])
        .folder(folder.path())
        .env("LC_ALL", "C.UTF-8")
        .env("PATH", "/usr/bin:/bin")
        .envs(cluster().environment(Transport::Tls))
        .guarded(policy.is_some());
    match policy {
        Some(policy) => run.env("FORKGUARD_POLICY", policy).run(),
        None => run.run(),
    }
}

/// Standard error without the numbers of the processes that bash says were killed.
fn said(outcome: &Outcome) -> String {
    let mut text = String::new();
    for line in outcome.stderr.lines() {
        let killed = line.starts_with("bash: line ");
        text.extend(
            line.chars()
                .filter(|c| !(killed && (c.is_ascii_digit() || *c == ' '))),
        );
        text.push('\n');
    }
    text
}

/// `report` as well, where this library knows it.
fn policies() -> &'static [&'static str] {
    let unknown = run("echo known", Some("report"))
        .stderr
        .contains("no such policy");
    &["resume", "report"][..2 - usize::from(unknown)]
}

#[test]
fn what_a_guarded_program_runs_is_as_without() {
    let policies = policies();
    cluster().ask("drop table if exists inherited; create table inherited as select n from generate_series(1, 1000) n");
    for (name, command) in COMMANDS {
        let without = run(command, None);
        let status = without.status.expect(name);
        for policy in policies {
            let with = run(command, Some(policy));
            with.check(
                (with.status, &with.stdout, said(&with))
                    == (Some(status), &without.stdout, said(&without)),
                &format!("{name}, {policy}, as without:\n{without}"),
            );
        }
        assert!(
            without.stdout.len() > 3,
            "{name} says something:\n{without}"
        );
    }
    cluster().ask("drop table inherited");
}
