//! NATS JetStream by Debian's nats-server, killed and stalled meanwhile.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream;
use pgveil::config::{NatsLogin, NatsSettings, Secret, SinkKind, SinkSettings};

use crate::house::{House, caught_up, sink, status, until};
use crate::support::guard::{Guard, signal};
use crate::support::{Certificates, Folder, PATIENCE, free_port, skip};

pub const TOKEN: &str = "a-token-of-nats";

pub fn program() -> Option<PathBuf> {
    let places = ["/usr/sbin/nats-server", "/usr/bin/nats-server"];
    let found = places.iter().find(|path| Path::new(path).exists());
    found.map(PathBuf::from)
}

pub struct Nats {
    program: PathBuf,
    folder: Folder,
    pub port: u16,
    /// Authority of the certificates that clients must have, and one of those.
    demands: Option<(PathBuf, (PathBuf, PathBuf))>,
    tls: Option<(PathBuf, PathBuf)>,
    running: Option<(Child, Guard)>,
}

impl Nats {
    pub fn new(program: PathBuf, tls: Option<&Certificates>) -> Nats {
        Nats {
            program,
            folder: Folder::new("nats"),
            port: free_port(),
            demands: None,
            tls: tls.map(|tls| (tls.cert_file(), tls.key_file())),
            running: None,
        }
    }

    /// Nobody comes in without a certificate of that authority; `reader` is one.
    pub fn demand(&mut self, ca: PathBuf, reader: (PathBuf, PathBuf)) {
        self.demands = Some((ca, reader));
    }

    pub fn start(&mut self) {
        let mut command = Command::new(&self.program);
        command
            .args([
                "--addr",
                "127.0.0.1",
                "--port",
                &self.port.to_string(),
                "--auth",
                TOKEN,
            ])
            .arg("--jetstream")
            .arg("--store_dir")
            .arg(self.folder.path());
        if let Some((cert, key)) = &self.tls {
            command
                .arg("--tls")
                .arg("--tlscert")
                .arg(cert)
                .arg("--tlskey")
                .arg(key);
        }
        if let Some((ca, _)) = &self.demands {
            command.arg("--tlsverify").arg("--tlscacert").arg(ca);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("cannot start nats-server");
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

    /// As a reader of the stream sees it.
    pub async fn context(&self, ca: Option<&Certificates>) -> jetstream::Context {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let mut options = async_nats::ConnectOptions::new().token(TOKEN.to_owned());
            if let Some(ca) = ca {
                options = options
                    .require_tls(true)
                    .add_root_certificates(ca.ca_file());
            }
            if let Some((_, (cert, key))) = &self.demands {
                options = options.add_client_certificate(cert.clone(), key.clone());
            }
            match options.connect(format!("localhost:{}", self.port)).await {
                Ok(client) => return jetstream::new(client),
                Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn stream(&self, ca: Option<&Certificates>) {
        let config = jetstream::stream::Config {
            name: "AUDIT".to_owned(),
            subjects: vec!["pgveil.audit".to_owned()],
            ..jetstream::stream::Config::default()
        };
        let context = self.context(ca).await;
        context.create_stream(config).await.expect("a stream");
    }

    /// What the stream holds: identifiers and records, in its order.
    pub async fn messages(&self, ca: Option<&Certificates>) -> Vec<(String, String)> {
        let context = self.context(ca).await;
        let stream = context.get_stream("AUDIT").await.expect("a stream");
        let last = stream.cached_info().state.last_sequence;
        let mut messages = Vec::new();
        for sequence in 1..=last {
            let message = stream.get_raw_message(sequence).await.expect("a message");
            let id = message.headers.get("Nats-Msg-Id").expect("an identifier");
            let text = String::from_utf8(message.payload.to_vec()).expect("utf-8");
            messages.push((id.to_string(), text));
        }
        messages
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn nats(port: u16, tls: Option<&Certificates>) -> SinkSettings {
    let scheme = if tls.is_some() { "tls" } else { "nats" };
    let mut settings = sink(
        "stream",
        SinkKind::Nats(NatsSettings {
            url: Secret::new(format!("{scheme}://localhost:{port}")),
            ca: tls.map(Certificates::ca_file),
            certificate: None,
            subject: "pgveil.audit".to_owned(),
            login: Some(NatsLogin::Token(Secret::new(TOKEN.to_owned()))),
        }),
    );
    settings.timeout = Duration::from_secs(2);
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_has_every_record_once_though_its_server_is_killed_and_stalled() {
    let Some(program) = program() else {
        skip(
            "a_stream_has_every_record_once_though_its_server_is_killed_and_stalled",
            "nats-server is not installed",
        );
        return;
    };
    let mut server = Nats::new(program, None);
    let house = House::of_segments(30_000);
    house.write(100);
    let sinks = house.start(&[nats(server.port, None)]);
    until("it is missed", || async {
        status(&sinks, "stream").failures > 1
    })
    .await;
    server.start();
    let _ = server.context(None).await;
    let before = status(&sinks, "stream").failures;
    until("a server without the stream does not count", || async {
        status(&sinks, "stream").failures > before
    })
    .await;
    assert_eq!(status(&sinks, "stream").delivered, 0);
    server.stream(None).await;
    until("some arrived", || async {
        status(&sinks, "stream").delivered > 20
    })
    .await;
    server.kill();
    house.write(100);
    server.start();
    until("more arrived", || async {
        status(&sinks, "stream").delivered > 120
    })
    .await;
    server.signal("STOP");
    house.write(100);
    let before = status(&sinks, "stream").failures;
    until("it is stalled", || async {
        status(&sinks, "stream").failures > before
    })
    .await;
    server.signal("CONT");
    caught_up(&sinks, "stream").await;
    let messages = server.messages(None).await;
    let ids: BTreeSet<String> = messages.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids, house.ids());
    assert_eq!(messages.len(), ids.len(), "the stream drops repetitions");
    let records = house.records();
    for (id, text) in &messages {
        assert_eq!(records.get(id), Some(text));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_reached_over_tls() {
    let Some(program) = program() else {
        skip(
            "a_stream_is_reached_over_tls",
            "nats-server is not installed",
        );
        return;
    };
    let certificates = Certificates::new();
    let stranger = Certificates::new();
    let mut server = Nats::new(program, Some(&certificates));
    server.start();
    server.stream(Some(&certificates)).await;
    let house = House::new();
    house.write(30);
    let wrong = SinkSettings {
        name: "wrong".to_owned(),
        ..nats(server.port, Some(&stranger))
    };
    let sinks = house.start(&[nats(server.port, Some(&certificates)), wrong]);
    caught_up(&sinks, "stream").await;
    until("it has tried", || async {
        status(&sinks, "wrong").failures > 1
    })
    .await;
    assert_eq!(status(&sinks, "wrong").delivered, 0);
    let messages = server.messages(Some(&certificates)).await;
    assert_eq!(messages.len(), house.ids().len());
}
