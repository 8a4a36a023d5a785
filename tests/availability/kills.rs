//! Processes that die in the middle of an upgrade, or cannot take over.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pgveil::audit::verify::{Expectation, verify};

use crate::line::{Line, SERVES, STARTED, has_ended, until};
use crate::support::guard::signal;
use crate::support::message::Client;
use crate::support::{Folder, Pgveil};
use crate::upgrade::bench;
use crate::{attempt, error, values};

const STAYS: &str = "the successor does not take over; this process goes on";

fn sound(pgveil: &Pgveil) {
    verify(&pgveil.audit_dir(), &Expectation::default()).expect("a sound chain");
}

fn serves(pgveil: &Pgveil) {
    let mut client = attempt(pgveil.port(), "blind").unwrap_or_else(|words| panic!("{words:?}"));
    assert_eq!(values(&client.query("SELECT 'served'")), ["served"]);
}

#[test]
fn what_cannot_take_over_leaves_everything_as_it_was() {
    let (_server, mut config) = bench("{ drain_timeout: 10min }");
    let folder = Folder::new("program");
    let program = folder.path().join("pgveil");
    let built = std::env::var_os("PGVEIL_TEST_BINARY");
    let built = built.map_or_else(|| env!("CARGO_BIN_EXE_pgveil").into(), PathBuf::from);
    // A link is enough where both are on one disk.
    fs::hard_link(&built, &program)
        .or_else(|_| fs::copy(&built, &program).map(drop))
        .expect("a program");
    config.program(&program);
    let pgveil = Pgveil::start(&config);
    let mut line = Line::of(&pgveil);
    let mut stays = attempt(pgveil.port(), "blind").expect("in");
    let file = pgveil.folder().join("pgveil.yaml");
    let replace = |path: &Path, content: &str| {
        let new = folder.path().join("new");
        fs::write(&new, content).expect("written");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&new, mode).expect("allowed");
        fs::rename(&new, path)
            .or_else(|_| fs::write(path, content))
            .expect("in place");
    };
    let mut refused = 0;
    let mut cannot = |what: &str, stays: &mut Client| {
        signal(pgveil.pid(), "USR2");
        refused += 1;
        until(what, || pgveil.log().matches(STAYS).count() == refused);
        assert_eq!(values(&stays.query("SELECT 'as before'")), ["as before"]);
        serves(&pgveil);
    };
    replace(&file, &(config.text() + "nonsense: 1\n"));
    cannot("wrong settings", &mut stays);
    assert!(pgveil.log().contains("`nonsense`"), "{}", pgveil.log());
    replace(&file, &config.text());
    let kept = folder.path().join("kept");
    fs::rename(&program, &kept).expect("moved");
    cannot("no program", &mut stays);
    replace(&program, "no program at all");
    cannot("not a program", &mut stays);
    replace(&program, "#!/bin/sh\nexit 3\n");
    cannot("a program that ends", &mut stays);
    fs::rename(&kept, &program).expect("moved back");
    let failed = |line: &&String| line.contains("\"reason\":\"upgrade_failed\"");
    assert_eq!(pgveil.audit_lines().iter().filter(failed).count(), refused);
    let counted = format!("\npgveil_upgrades_failed_total {refused}\n");
    assert!(pgveil.http("/metrics").contains(&counted));
    line.upgrade();
    serves(&pgveil);
    drop(stays);
    line.stop();
    sound(&pgveil);
}

#[test]
fn a_successor_that_is_killed_before_it_serves_changes_nothing() {
    let (_server, config) = bench("{ drain_timeout: 10min }");
    let pgveil = Pgveil::start(&config);
    let mut line = Line::of(&pgveil);
    let mut stays = attempt(pgveil.port(), "blind").expect("in");
    // While it looks whether it could begin, and while it has the chain and does not serve.
    for (turn, has_chain) in [false, true, true].into_iter().enumerate() {
        signal(pgveil.pid(), "USR2");
        let pid = line.next(STARTED, turn);
        if has_chain {
            until("it does not get its turn", || {
                holds(pid, "audit/lock") || has_ended(pid)
            });
        }
        signal(pid, "KILL");
        until("nothing comes of it", || {
            pgveil.log().matches(STAYS).count() + pgveil.pids_in_log(SERVES).len() == turn + 1
        });
        assert_eq!(values(&stays.query("SELECT 'as before'")), ["as before"]);
        serves(&pgveil);
        if pgveil.pids_in_log(SERVES).contains(&pid) {
            // It was faster than the signal, and another one came in its place.
            line.next(SERVES, 1);
            break;
        }
    }
    drop(stays);
    signal(pgveil.pid(), "TERM");
    line.stop();
    sound(&pgveil);
}

fn holds(pid: u32, file: &str) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    open.flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|path| path.ends_with(file))
}

#[test]
fn an_old_process_that_is_killed_leaves_one_that_serves_or_says_why_not() {
    for has_chain in [false, true] {
        let (_server, config) = bench("{ drain_timeout: 10min }");
        let pgveil = Pgveil::start(&config);
        let mut line = Line::of(&pgveil);
        signal(pgveil.pid(), "USR2");
        let new = line.next(STARTED, 0);
        if has_chain {
            until("it does not get its turn", || {
                holds(new, "audit/lock") || has_ended(new)
            });
        }
        signal(pgveil.pid(), "KILL");
        until("it neither serves nor ends", || {
            has_ended(new) || pgveil.log().matches("pgveil ready on").count() == 2
        });
        if has_ended(new) {
            let why = "there is no process to take over from";
            assert!(pgveil.wait_for_log(why), "{}", pgveil.log());
            assert!(!has_chain, "{}", pgveil.log());
        } else {
            serves(&pgveil);
        }
        line.stop();
        drop(line);
        sound(&pgveil);
        // Whoever starts it again finds everything as it should be.
        let mut pgveil = pgveil.restart();
        serves(&pgveil);
        assert!(pgveil.stop().success());
        sound(&pgveil);
    }
}

#[test]
fn a_successor_that_is_killed_while_old_sessions_go_on_is_replaced_and_nobody_is_refused() {
    let (_server, config) = bench("{ drain_timeout: 10min }");
    let pgveil = Pgveil::start(&config);
    let mut line = Line::of(&pgveil);
    let mut old = attempt(pgveil.port(), "blind").expect("in");
    assert_eq!(error(&old.query("BEGIN")), None);
    line.upgrade();
    let mut broken = attempt(pgveil.port(), "blind").expect("in");
    for turn in 1..3 {
        signal(line.current(), "KILL");
        // Whoever comes now waits in the queue of the listening socket.
        serves(&pgveil);
        line.next(SERVES, turn);
        assert_eq!(values(&old.query("SELECT 'goes on'")), ["goes on"]);
    }
    assert!(broken.read().is_none(), "its process is gone");
    assert_eq!(error(&old.query("COMMIT")), None);
    // An end that is asked for is no loss: nobody comes in its place.
    signal(line.current(), "TERM");
    until("connections are not refused", || {
        std::net::TcpStream::connect(pgveil.addr()).is_err()
    });
    drop(old);
    line.all_end();
    assert_eq!(pgveil.pids_in_log(SERVES).len(), 3);
    sound(&pgveil);
    let commits = pgveil.audit_lines();
    assert!(commits.iter().any(|line| line.contains("COMMIT")));
}
