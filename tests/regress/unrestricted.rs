//! As an unrestricted role: psql prints the same through pgveil as without.
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::Postgres;
use crate::{DATABASE, folder, server, tests, veil};

const DIFFERENT: &str = include_str!("differences.txt");

/// What psql prints for a file, and how long it took.
fn psql(server: &Postgres, port: u16, test: &str) -> (String, Duration) {
    let started = Instant::now();
    let folder = folder();
    let script = format!(
        "{} -f {} 2>&1",
        "psql -X -a -q -v HIDE_TABLEAM=on -v HIDE_TOAST_COMPRESSION=on",
        folder.join(format!("sql/{test}.sql")).display()
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .env(
            "PATH",
            format!(
                "{}:{}",
                server.bin().display(),
                std::env::var("PATH").unwrap_or_default()
            ),
        )
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", port.to_string())
        .env("PGUSER", "postgres")
        .env("PGDATABASE", DATABASE)
        .env("PG_ABS_SRCDIR", &folder)
        .env("PG_ABS_BUILDDIR", &folder)
        .env("PG_LIBDIR", &folder)
        .env("PG_DLSUFFIX", ".so")
        .env("LC_MESSAGES", "C")
        .output()
        .expect("psql");
    let printed = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| settled(line, &port.to_string()) + "\n")
        .collect();
    (printed, started.elapsed())
}

/// Without the port, and without the line at which psql stood when a notice came: that is a matter of time.
fn settled(line: &str, port: &str) -> String {
    if line.starts_with("psql:")
        && let Some((file, rest)) = line.split_once(".sql:")
    {
        let text = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
        return format!("{file}.sql{text}");
    }
    let mut numbers = line.split(|letter: char| !letter.is_ascii_digit());
    match numbers.any(|number| number == port) {
        true => line.replace(port, "PORT"),
        false => line.to_owned(),
    }
}

/// Lines of differences.txt: `psql file | reason`.
fn known(test: &str) -> bool {
    let listed = DIFFERENT.lines().filter_map(|line| line.split_once(" | "));
    listed
        .into_iter()
        .any(|(name, _)| name.strip_prefix("psql ") == Some(test))
}

#[test]
fn psql_prints_the_same_through_pgveil_for_an_unrestricted_role() {
    let (direct, behind) = (server(), server());
    let pgveil = veil(&behind);
    let (mut different, mut listed) = (Vec::new(), Vec::new());
    let (mut through, mut direct_took) = (Duration::ZERO, Duration::ZERO);
    let tests = tests();
    for test in &tests {
        let ((ours, slow), (theirs, fast)) = std::thread::scope(|scope| {
            let ours = scope.spawn(|| psql(&behind, pgveil.port(), test));
            let theirs = scope.spawn(|| psql(&direct, direct.port(), test));
            (ours.join().expect("psql"), theirs.join().expect("psql"))
        });
        through += slow;
        direct_took += fast;
        assert!(theirs.len() > 20, "{test}: {theirs}");
        if ours == theirs {
            continue;
        }
        let lines = ours.lines().zip(theirs.lines()).enumerate();
        let apart: Vec<String> = lines
            .filter(|(_, (ours, theirs))| ours != theirs)
            .take(3)
            .map(|(at, (ours, theirs))| format!("    {at}: {ours}\n    {at}: {theirs}"))
            .collect();
        let list = match known(test) {
            true => &mut listed,
            false => &mut different,
        };
        list.push(format!(
            "{test}: {} lines against {}\n{}",
            ours.lines().count(),
            theirs.lines().count(),
            apart.join("\n")
        ));
    }
    println!("listed in differences.txt: {}", listed.join("\n"));
    println!(
        "{} of {} files print the same; {through:.1?} through pgveil, {direct_took:.1?} without",
        tests.len() - different.len() - listed.len(),
        tests.len()
    );
    assert!(different.is_empty(), "{}", different.join("\n"));
}
