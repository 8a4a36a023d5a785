//! The name of a server leads to another address: sessions follow it, and so does what they are judged by.
use std::fs;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::support::message::Client;
use crate::support::{Config, Folder, Options, Pgveil, Postgres, skip};
use crate::{POLICY, SCHEMA, attempt, error, values};

const NAME: &str = "db.pgveil.test";
const MASKED: &str = "***";

/// A file that stands for `/etc/hosts` in a mount namespace of pgveil's own: nobody else sees it.
struct Names(PathBuf);

impl Names {
    fn in_folder(folder: &Folder) -> Names {
        Names(folder.write("hosts", format!("127.0.0.1 {NAME}\n")))
    }

    /// In place and at once, for a reader may come at any time.
    fn lead_to(&self, last: u8) {
        let file = fs::OpenOptions::new().write(true).open(&self.0);
        let line = format!("127.0.0.{last} {NAME}\n");
        file.and_then(|file| file.write_all_at(line.as_bytes(), 0))
            .expect("written");
    }

    /// A program that is pgveil where the file is `/etc/hosts`; `None` where this machine does not let that be.
    fn program(&self, folder: &Folder) -> Option<PathBuf> {
        let shown = |then: &str| {
            format!(
                "unshare --user --map-root-user --mount sh -c 'mount --bind \"$0\" /etc/hosts && {then}' {} \"$@\"",
                self.0.display()
            )
        };
        let tried = Command::new("sh").args(["-c", &shown("true")]).output();
        if !tried.is_ok_and(|tried| tried.status.success()) {
            return None;
        }
        let built = crate::support::pgveil::command();
        let serve = format!("exec {} \"$@\"", Path::new(built.get_program()).display());
        let path = folder.write("pgveil.sh", format!("#!/bin/sh\nexec {}\n", shown(&serve)));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
        Some(path)
    }
}

/// Lets a server be reached at another address, too: at the port that the first one has.
fn at(address: &str, port: u16, server: &Postgres) {
    let listener = TcpListener::bind((address, port)).expect("an address of loopback");
    let to = server.port();
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else {
                continue;
            };
            for (mut from, mut to) in [
                (
                    near.try_clone().expect("a handle"),
                    far.try_clone().expect("a handle"),
                ),
                (far, near),
            ] {
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
}

fn login(pgveil: &Pgveil, user: &str) -> Client {
    attempt(pgveil.port(), user).unwrap_or_else(|words| panic!("{words:?}"))
}

fn ask(client: &mut Client, text: &str) -> Result<Vec<String>, String> {
    let frames = client.query(text);
    error(&frames).map_or_else(|| Ok(values(&frames)), Err)
}

/// What is harmless on the one server is a view of what is masked on the other.
#[test]
fn new_sessions_go_where_the_name_leads_and_are_judged_by_what_is_there() {
    let name = "new_sessions_go_where_the_name_leads_and_are_judged_by_what_is_there";
    let folder = Folder::new("names");
    let names = Names::in_folder(&folder);
    let Some(program) = names.program(&folder) else {
        skip(name, "this user may not mount a file in a namespace");
        return;
    };
    let (mut old, new) = (
        Postgres::start(Options::default()),
        Postgres::start(Options::default()),
    );
    for (server, shown) in [
        (
            &old,
            "CREATE TABLE shown AS SELECT id, 'nothing' AS note FROM people",
        ),
        (
            &new,
            "CREATE VIEW shown AS SELECT id, phone AS note FROM people",
        ),
    ] {
        server.sql("postgres", SCHEMA);
        server.sql("postgres", shown);
        server.sql("postgres", "GRANT SELECT ON shown TO clear, blind");
    }
    at("127.0.0.2", old.port(), &new);

    let mut config = Config::new(&old);
    config.policy(POLICY);
    config.program(&program);
    let port = old.port();
    config.set(
        "upstream",
        &format!("{{ host: {NAME}, port: {port}, tls: disable, catalog_user: {{ name: postgres }}, databases: [postgres] }}"),
    );
    // Nobody but a login looks at the catalog while the test runs.
    config.set("limits", "{ catalog_refresh: 5min }");
    let pgveil = Pgveil::start(&config);
    let note = "SELECT note FROM shown WHERE id = 7";
    let mut before = login(&pgveil, "blind");
    assert_eq!(ask(&mut before, note), Ok(vec!["nothing".to_owned()]));

    names.lead_to(2);
    let mut clear = login(&pgveil, "clear");
    assert_eq!(ask(&mut clear, note), Ok(vec!["1387".to_owned()]));
    let mut blind = login(&pgveil, "blind");
    let shown = ask(&mut blind, note);
    assert!(
        !format!("{shown:?}").contains("1387"),
        "judged by the old server's catalog: {shown:?}"
    );
    assert_eq!(shown, Ok(vec![MASKED.to_owned()]));
    // Sessions do not move.
    assert!(ask(&mut before, "SELECT 1").is_ok());

    // The old one is needed no more.
    old.kill();
    assert_eq!(
        ask(&mut login(&pgveil, "blind"), note),
        Ok(vec![MASKED.to_owned()])
    );
    assert!(pgveil.http("/readyz").starts_with("HTTP/1.1 200"));

    // A name that leads nowhere refuses new sessions, and says so; the others go on.
    names.lead_to(9);
    let refused = attempt(pgveil.port(), "clear").err().flatten();
    let refused = refused.expect("told why").field(b'C');
    assert_eq!(refused.as_deref(), Some("08006"));
    assert!(ask(&mut clear, "SELECT 1").is_ok());
    names.lead_to(2);
    assert!(ask(&mut login(&pgveil, "blind"), note).is_ok());
}
