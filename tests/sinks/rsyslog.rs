//! The real collector: rsyslog, over TCP and over TLS (GnuTLS), killed and stopped meanwhile.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::house::{House, caught_up, status, until};
use crate::support::guard::{Guard, signal};
use crate::support::{Certificates, Folder, free_port, skip};
use crate::syslog::{id, syslog};

fn rsyslogd() -> Option<PathBuf> {
    let path = Path::new("/usr/sbin/rsyslogd");
    path.exists().then(|| path.to_owned())
}

/// GnuTLS is a package of its own.
fn with_tls() -> Option<PathBuf> {
    let folders = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
    ];
    let has = |folder: &&str| Path::new(folder).join("rsyslog/lmnsd_gtls.so").exists();
    folders.iter().any(has).then(rsyslogd)?
}

struct Rsyslog {
    folder: Folder,
    port: u16,
    program: PathBuf,
    running: Option<(Child, Guard)>,
}

impl Rsyslog {
    fn new(program: PathBuf, tls: Option<&Certificates>) -> Rsyslog {
        let folder = Folder::new("rsyslog");
        let port = free_port();
        let (global, module) = match tls {
            None => (String::new(), String::new()),
            Some(tls) => (
                format!(
                    "global(DefaultNetstreamDriver=\"gtls\" DefaultNetstreamDriverCAFile=\"{}\" \
                     DefaultNetstreamDriverCertFile=\"{}\" DefaultNetstreamDriverKeyFile=\"{}\")\n",
                    tls.ca_file().display(),
                    tls.cert_file().display(),
                    tls.key_file().display()
                ),
                " StreamDriver.Name=\"gtls\" StreamDriver.Mode=\"1\" StreamDriver.AuthMode=\"anon\"".to_owned(),
            ),
        };
        let out = folder.path().join("out.log");
        // Without a queue a message is in the file before the next is read: what rsyslog has read survives its end.
        folder.write(
            "rsyslog.conf",
            format!(
                "{global}global(workDirectory=\"{work}\" maxMessageSize=\"1m\")\n\
                 main_queue(queue.type=\"direct\")\n\
                 module(load=\"imtcp\"{module})\n\
                 template(name=\"all\" type=\"string\" string=\"%pri% %hostname% %app-name% %msgid% %structured-data% %msg%\\n\")\n\
                 input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\n\
                 action(type=\"omfile\" file=\"{out}\" template=\"all\")\n",
                work = folder.path().display(),
                out = out.display()
            ),
        );
        Rsyslog {
            folder,
            port,
            program,
            running: None,
        }
    }

    fn start(&mut self) {
        let pid = self.folder.path().join("pid");
        let _ = std::fs::remove_file(&pid);
        let child = Command::new(&self.program)
            .arg("-n")
            .arg("-f")
            .arg(self.folder.path().join("rsyslog.conf"))
            .arg("-i")
            .arg(&pid)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("cannot start rsyslogd");
        let guard = Guard::watch(child.id(), "KILL", self.folder.path());
        self.running = Some((child, guard));
    }

    fn signal(&self, name: &str) {
        if let Some((child, _)) = &self.running {
            signal(child.id(), name);
        }
    }

    fn kill(&mut self) {
        if let Some((mut child, _guard)) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn lines(&self) -> Vec<String> {
        crate::house::lines(&self.folder.path().join("out.log"))
    }

    fn ids(&self) -> BTreeSet<String> {
        let lines = self.lines();
        // A line that was cut off by a kill is delivered again.
        let whole = lines.iter().filter(|line| line.ends_with('}'));
        whole.map(String::as_str).map(last_id).collect()
    }
}

/// What is written after a line that a kill cut off stands behind it.
fn last_id(line: &str) -> String {
    let at = line.rfind(" id=\"").expect("an identifier");
    id(&line[at..])
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rsyslog_has_every_record_though_it_is_killed_and_stopped() {
    let Some(program) = rsyslogd() else {
        skip(
            "rsyslog_has_every_record_though_it_is_killed_and_stopped",
            "rsyslogd is not installed",
        );
        return;
    };
    let mut rsyslog = Rsyslog::new(program, None);
    let house = House::of_segments(30_000);
    house.write(100);
    // It is not there yet.
    let sinks = house.start(&[syslog(rsyslog.port, None)]);
    until("it is missed", || async {
        status(&sinks, "soc").failures > 1
    })
    .await;
    rsyslog.start();
    until("some arrived", || async {
        status(&sinks, "soc").delivered > 20
    })
    .await;
    rsyslog.kill();
    house.write(100);
    rsyslog.start();
    until("more arrived", || async {
        status(&sinks, "soc").delivered > 120
    })
    .await;
    rsyslog.signal("STOP");
    house.write(100);
    let before = status(&sinks, "soc").failures;
    until("it is stalled", || async {
        status(&sinks, "soc").failures > before
    })
    .await;
    rsyslog.signal("CONT");
    caught_up(&sinks, "soc").await;
    let expected = house.ids();
    until("the file is written", || async {
        rsyslog.ids() == expected
    })
    .await;
    let records = house.records();
    for line in rsyslog.lines().iter().filter(|line| line.ends_with('}')) {
        assert!(line.starts_with("110 db1 pgveil "), "{line}");
        assert!(line.ends_with(&records[&last_id(line)]), "as it is: {line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rsyslog_has_every_record_over_tls() {
    let Some(program) = with_tls() else {
        skip(
            "rsyslog_has_every_record_over_tls",
            "rsyslogd or its GnuTLS driver is not installed",
        );
        return;
    };
    let certificates = Certificates::new();
    let mut rsyslog = Rsyslog::new(program, Some(&certificates));
    rsyslog.start();
    let house = House::of_segments(30_000);
    house.write(100);
    let sinks = house.start(&[syslog(rsyslog.port, Some(&certificates))]);
    caught_up(&sinks, "soc").await;
    let expected = house.ids();
    until("the file is written", || async {
        rsyslog.ids() == expected
    })
    .await;
}
