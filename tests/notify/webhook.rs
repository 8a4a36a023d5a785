//! The webhook.
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use pgveil::config::{Language, NotifySettings, Secret, WebhookSettings};
use pgveil::export::clock::now;
use sha2::Sha256;

use crate::office::{Office, read, settings, until};
use crate::support::{Certificates, free_port};
use crate::web_server::{Manner, Received, WebServer};

const SECRET: &str = "0123456789abcdef of a webhook";

fn webhook(port: u16) -> NotifySettings {
    let webhook = WebhookSettings {
        url: Secret::new(format!("http://127.0.0.1:{port}/hook?team=1")),
        secret: Secret::new(SECRET.to_owned()),
        ca: None,
    };
    settings(Some(webhook), None, Language::English)
}

fn over_tls(host: &str, port: u16, ca: Option<&Certificates>) -> NotifySettings {
    let webhook = WebhookSettings {
        url: Secret::new(format!("https://{host}:{port}/hook")),
        secret: Secret::new(SECRET.to_owned()),
        ca: ca.map(Certificates::ca_file),
    };
    settings(Some(webhook), None, Language::English)
}

/// What a receiver does with a message before it believes it.
fn verify(received: &Received) -> serde_json::Value {
    let timestamp = &received.headers["x-pgveil-timestamp"];
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{timestamp}.{}", received.body).as_bytes());
    let digits = mac.finalize().into_bytes();
    let digits: String = digits.iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = &received.headers["x-pgveil-signature"];
    assert_eq!(*signature, format!("v1={digits}"));
    let age = now() - timestamp.parse::<i64>().unwrap();
    assert!((0..60).contains(&age), "{age} s old");
    assert_eq!(received.headers["content-type"], "application/json");
    let json: serde_json::Value = serde_json::from_str(&received.body).unwrap();
    assert_eq!(json["delivery"], *received.headers["x-pgveil-delivery"]);
    json
}

fn deliveries(received: &[Received]) -> Vec<String> {
    let ids = received
        .iter()
        .map(|received| received.headers["x-pgveil-delivery"].clone());
    ids.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_arrives_signed_once_the_server_behaves() {
    let manners = [
        Manner::Answer(500),
        Manner::Garbage,
        Manner::Hang,
        Manner::Redirect,
        Manner::Close,
        Manner::Answer(404),
        Manner::Answer(503),
    ];
    let server = WebServer::start(&manners).await;
    let office = Office::open().await;
    let notifier = office.notify(&webhook(server.port));
    let id = office.ask("d1").await.id;
    office.sign(&id, "leo", "legal").await;
    office.sign(&id, "dora", "dpo").await;
    office.all_told().await;

    let accepted = server.accepted();
    let expected: Vec<String> = (0..3).map(|step| format!("{id}-{step}")).collect();
    assert_eq!(deliveries(&accepted), expected, "in order, each once");
    let steps: Vec<serde_json::Value> = accepted.iter().map(verify).collect();
    let actions: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["action"].as_str())
        .collect();
    assert_eq!(actions, ["open", "approve", "approve"]);
    assert_eq!(steps[0]["reason"], "审计 2026");
    assert_eq!(
        steps[0]["statement"],
        "SELECT * FROM crm.customers WHERE city = $1"
    );
    assert_eq!(steps[2]["state"], "granted");
    assert_eq!(
        steps[2]["url"],
        format!("https://pgveil.example.com/requests/{id}")
    );
    for received in server.received() {
        assert_eq!(received.path, "/hook", "a redirect was followed");
        assert!(
            !received.body.contains("\"d1\""),
            "the digest of the values"
        );
        assert!(!received.body.contains(SECRET));
    }
    assert_eq!(server.connections(), manners.len() + 3);
    assert_eq!(read(&notifier.counters.webhook.sent), 3);
    assert_eq!(
        read(&notifier.counters.webhook.failed),
        manners.len() as u64
    );
    until("nothing is pending", || async {
        read(&notifier.counters.pending) == 0 && read(&notifier.counters.oldest) == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_desk_does_not_wait_for_a_server_that_hangs() {
    let server = WebServer::start(&[Manner::Hang; 1000]).await;
    let office = Office::open().await;
    let notifier = office.notify(&webhook(server.port));
    office.ask("first").await;
    until("the worker hangs", || async { server.connections() > 0 }).await;
    let started = Instant::now();
    for number in 0..10 {
        let id = office.ask(&format!("d{number}")).await.id;
        office.sign(&id, "leo", "legal").await;
    }
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?} for 20 changes",
        started.elapsed()
    );
    until("it is seen in the counters", || async {
        read(&notifier.counters.pending) == 21 && read(&notifier.counters.webhook.failed) > 0
    })
    .await;
    assert_eq!(read(&notifier.counters.webhook.sent), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_delivered_is_by_the_next_process() {
    let office = Office::open().await;
    // Nobody listens there.
    let notifier = office.notify(&webhook(free_port()));
    let id = office.ask("d1").await.id;
    until("it has tried", || async {
        read(&notifier.counters.webhook.failed) > 2
    })
    .await;
    drop(notifier);
    office.sign(&id, "leo", "legal").await;
    let server = WebServer::start(&[]).await;
    let _notifier = office.notify(&webhook(server.port));
    office.all_told().await;
    assert_eq!(
        deliveries(&server.accepted()),
        [format!("{id}-0"), format!("{id}-1")]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_proxies_one_tells() {
    let server = WebServer::start(&[]).await;
    let office = Office::open().await;
    let _one = office.notify(&webhook(server.port));
    let _other = office.notify(&webhook(server.port));
    for number in 0..10 {
        office.ask(&format!("d{number}")).await;
    }
    office.all_told().await;
    let mut ids = deliveries(&server.accepted());
    assert_eq!(ids.len(), 10);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 10);
}

/// A receiver that will not have one message does not keep the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_that_is_refused_holds_no_other_up() {
    let server = WebServer::start(&[Manner::Answer(422)]).await;
    let office = Office::open().await;
    for number in 0..5 {
        office.ask(&format!("d{number}")).await;
    }
    let _notifier = office.notify(&webhook(server.port));
    office.all_told().await;
    let received = server.received();
    assert_eq!(received.len(), 6);
    let refused = &received[0].headers["x-pgveil-delivery"];
    assert!(
        received[1..4]
            .iter()
            .all(|other| other.headers["x-pgveil-delivery"] != *refused),
        "the others come first"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_it_trusts_its_own_authority() {
    let certificates = Certificates::new();
    let server = WebServer::start_tls(&certificates).await;
    let office = Office::open().await;
    let notifier = office.notify(&over_tls("localhost", server.port, Some(&certificates)));
    let id = office.ask("d1").await.id;
    office.all_told().await;
    let accepted = server.accepted();
    assert_eq!(deliveries(&accepted), [format!("{id}-0")]);
    assert_eq!(verify(&accepted[0])["action"], "open");
    assert_eq!(server.handshakes(), 1);
    assert_eq!(read(&notifier.counters.webhook.failed), 0);
}

/// Another authority, none but the system's, another name in the certificate, no TLS at all: not a word is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_posted_to_a_server_that_cannot_show_who_it_is() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let elsewhere = Certificates::for_names(&["hooks.example.com"]);
    let secure = WebServer::start_tls(&certificates).await;
    let renamed = WebServer::start_tls(&elsewhere).await;
    let plain = WebServer::start(&[]).await;
    for (name, server, ca) in [
        ("another authority", &secure, Some(&others)),
        ("the system's authorities", &secure, None),
        ("another name", &renamed, Some(&elsewhere)),
        ("no TLS", &plain, Some(&certificates)),
    ] {
        let office = Office::open().await;
        let notifier = office.notify(&over_tls("localhost", server.port, ca));
        office.ask("d1").await;
        until(name, || async {
            read(&notifier.counters.webhook.failed) >= 3
        })
        .await;
        assert!(server.connections() >= 3, "{name}");
        assert!(server.received().is_empty(), "{name}");
        assert_eq!(read(&notifier.counters.webhook.sent), 0, "{name}");
        assert_eq!(office.desk.untold(10).await.unwrap().len(), 1, "{name}");
    }
    assert_eq!(secure.handshakes() + renamed.handshakes(), 0);
}
