//! Receivers over HTTP: real web servers that fail in every way before they take anything.
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use pgveil::config::{
    ElasticsearchSettings, HttpLogin, Secret, SinkFormat, SinkKind, SinkSettings,
    SplunkHecSettings, WebSinkSettings,
};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::house::{House, caught_up, sink, status, until};
use crate::support::{Certificates, free_port};
use crate::syslog::acceptor;
use crate::web_server::{Manner, Received, WebServer};

pub const SECRET: &str = "0123456789abcdef of a webhook";
/// Everything that can go wrong with an answer.
const TROUBLE: [Manner; 9] = [
    Manner::Answer(500),
    Manner::Garbage,
    Manner::Hang,
    Manner::Redirect,
    Manner::Close,
    Manner::Answer(503),
    Manner::Answer(429),
    Manner::Answer(401),
    Manner::Answer(404),
];

fn webhook(port: u16) -> SinkSettings {
    sink(
        "hook",
        SinkKind::Webhook(WebSinkSettings {
            url: Secret::new(format!("http://127.0.0.1:{port}/hook")),
            secret: Secret::new(SECRET.to_owned()),
            ca: None,
            certificate: None,
        }),
    )
}

fn splunk(port: u16) -> SinkSettings {
    sink(
        "splunk",
        SinkKind::SplunkHec(SplunkHecSettings {
            web: WebSinkSettings {
                url: Secret::new(format!("http://127.0.0.1:{port}/services/collector/event")),
                secret: Secret::new("t0ken".to_owned()),
                ca: None,
                certificate: None,
            },
            index: Some("audit".to_owned()),
            source: "pgveil".to_owned(),
            sourcetype: "pgveil:audit".to_owned(),
        }),
    )
}

fn elastic(port: u16) -> SinkSettings {
    let kind = SinkKind::Elasticsearch(ElasticsearchSettings {
        url: Secret::new(format!("http://127.0.0.1:{port}/es/")),
        ca: None,
        certificate: None,
        index: "pgveil-audit".to_owned(),
        login: Some(HttpLogin::Basic {
            user: "pgveil".to_owned(),
            password: Secret::new("hunter2".to_owned()),
        }),
    });
    SinkSettings {
        format: SinkFormat::Ecs,
        ..sink("elastic", kind)
    }
}

/// What a receiver does with a body before it believes it.
pub fn verified(received: &Received) -> Value {
    let timestamp = &received.headers["x-pgveil-timestamp"];
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{timestamp}.{}", received.body).as_bytes());
    let digits = mac.finalize().into_bytes();
    let digits: String = digits.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        received.headers["x-pgveil-signature"],
        format!("v1={digits}")
    );
    let body: Value = serde_json::from_str(&received.body).unwrap();
    assert_eq!(body["delivery"], *received.headers["x-pgveil-delivery"]);
    body
}

fn webhook_ids(received: &[Received]) -> Vec<String> {
    let bodies = received.iter().map(verified);
    bodies
        .flat_map(|body| body["records"].as_array().unwrap().clone())
        .map(|record| record["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_fails_in_every_way_has_every_record_in_the_end() {
    let server = WebServer::start(&TROUBLE).await;
    let house = House::of_segments(20_000);
    house.write(120);
    let sinks = house.start(&[webhook(server.port)]);
    caught_up(&sinks, "hook").await;
    let accepted = server.accepted();
    let ids = webhook_ids(&accepted);
    let unique: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(unique, house.ids());
    assert_eq!(ids.len(), unique.len(), "what was taken is not sent again");
    assert!(ids.is_sorted_by_key(|id| id.rsplit('-').next().unwrap().parse::<u64>().unwrap()));
    let records = house.records();
    for body in accepted.iter().map(verified) {
        for record in body["records"].as_array().unwrap() {
            let line: Value =
                serde_json::from_str(&records[record["id"].as_str().unwrap()]).unwrap();
            assert_eq!(record["record"], line);
        }
    }
    assert_eq!(status(&sinks, "hook").failures, TROUBLE.len() as u64);
    for received in server.received() {
        assert_eq!(received.path, "/hook", "a redirect was followed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_tried_again_is_the_same_delivery() {
    let server = WebServer::start(&[Manner::Answer(500), Manner::Answer(500)]).await;
    let house = House::new();
    let mut settings = webhook(server.port);
    settings.batch.records = 5;
    house.write(4);
    let sinks = house.start(&[settings]);
    caught_up(&sinks, "hook").await;
    let received = server.received();
    let deliveries: Vec<&str> = received
        .iter()
        .map(|received| received.headers["x-pgveil-delivery"].as_str())
        .collect();
    assert_eq!(deliveries[0], deliveries[1]);
    assert_eq!(deliveries[1], deliveries[2]);
}

/// The pace of the tests is far faster than what the server asks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_patience_is_left_alone() {
    let server = WebServer::start(&[Manner::Later(2), Manner::Answer(503)]).await;
    let house = House::new();
    house.write(3);
    let sinks = house.start(&[webhook(server.port)]);
    caught_up(&sinks, "hook").await;
    let at: Vec<Instant> = server
        .received()
        .iter()
        .map(|received| received.at)
        .collect();
    assert_eq!(at.len(), 3, "one too early, one that failed, one taken");
    assert!(at[1] - at[0] >= Duration::from_secs(2), "{at:?}");
    assert!(at[2] - at[1] < Duration::from_secs(2), "{at:?}");
}

/// Killed for a while, in the middle of a stream of records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_away_gets_what_it_missed() {
    let house = House::of_segments(20_000);
    let port = free_port();
    let reply: Arc<dyn Fn(&str) -> String + Send + Sync> = Arc::new(|_: &str| "{}".to_owned());
    let first = WebServer::start_at(port, &[], Arc::clone(&reply), None).await;
    let sinks = house.start(&[webhook(port)]);
    house.write(60);
    until("some arrived", || async { !first.accepted().is_empty() }).await;
    first.stop().await;
    house.write(100);
    until("it has noticed", || async {
        status(&sinks, "hook").failures > 2
    })
    .await;
    let away = status(&sinks, "hook");
    assert!(away.lag > 0 && !away.oldest.is_zero(), "{away:?}");
    let second = WebServer::start_at(port, &[], reply, None).await;
    caught_up(&sinks, "hook").await;
    let mut ids: BTreeSet<String> = webhook_ids(&first.accepted()).into_iter().collect();
    ids.extend(webhook_ids(&second.accepted()));
    assert_eq!(ids, house.ids());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_an_expired_certificate_gets_nothing_until_it_has_another() {
    let (old, new) = Certificates::expired();
    let reply: Arc<dyn Fn(&str) -> String + Send + Sync> = Arc::new(|_: &str| "{}".to_owned());
    let port = free_port();
    let before = WebServer::start_at(port, &[], Arc::clone(&reply), Some(acceptor(&old))).await;
    let house = House::new();
    house.write(30);
    let mut settings = webhook(port);
    settings.kind = SinkKind::Webhook(WebSinkSettings {
        url: Secret::new(format!("https://localhost:{port}/hook")),
        secret: Secret::new(SECRET.to_owned()),
        ca: Some(new.ca_file()),
        certificate: None,
    });
    let sinks = house.start(&[settings]);
    until("it has tried", || async {
        status(&sinks, "hook").failures > 2
    })
    .await;
    assert_eq!(before.received().len(), 0, "nothing is said to it");
    before.stop().await;
    let after = WebServer::start_at(port, &[], reply, Some(acceptor(&new))).await;
    caught_up(&sinks, "hook").await;
    let ids: BTreeSet<String> = webhook_ids(&after.accepted()).into_iter().collect();
    assert_eq!(ids, house.ids());
}

/// A receiver with a limit gets the same in smaller parts; a single record beyond it is set aside, and told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_divided() {
    let manners = [
        Manner::Answer(413),
        Manner::Answer(413),
        Manner::Answer(413),
    ];
    let server = WebServer::start(&manners).await;
    let house = House::new();
    let mut settings = webhook(server.port);
    settings.batch.records = 4;
    house.write(3);
    let ids = house.ids();
    assert_eq!(ids.len(), 4);
    let sinks = house.start(&[settings]);
    caught_up(&sinks, "hook").await;
    let done = status(&sinks, "hook");
    assert_eq!((done.rejected, done.delivered), (1, 4));
    let mut taken: BTreeSet<String> = webhook_ids(&server.accepted()).into_iter().collect();
    assert_eq!(taken.len(), 3);
    let aside = std::fs::read_to_string(house.cursor("hook").with_extension("rejected.jsonl"));
    let aside = aside.expect("it is set aside");
    let lost: Vec<(String, String)> = house
        .records()
        .into_iter()
        .filter(|(id, _)| !taken.contains(id))
        .collect();
    assert_eq!(aside, format!("{}\n", lost[0].1));
    taken.insert(lost[0].0.clone());
    assert_eq!(taken, ids);
}

fn success(_: &str) -> String {
    json!({ "text": "Success", "code": 0 }).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn splunk_has_every_event_with_its_identifier_and_time() {
    // The last two answer 200 and mean no.
    let answers = Arc::new(Mutex::new(vec![
        "<html>a proxy's welcome page</html>".to_owned(),
        json!({ "text": "Incorrect index", "code": 7 }).to_string(),
    ]));
    let reply = move |body: &str| {
        answers
            .lock()
            .unwrap()
            .pop()
            .unwrap_or_else(|| success(body))
    };
    let server = WebServer::start_at(0, &TROUBLE, Arc::new(reply), None).await;
    let house = House::new();
    house.write(50);
    let sinks = house.start(&[splunk(server.port)]);
    caught_up(&sinks, "splunk").await;
    assert_eq!(status(&sinks, "splunk").failures, TROUBLE.len() as u64 + 2);
    let records = house.records();
    let mut ids = BTreeSet::new();
    for received in server.accepted() {
        assert_eq!(received.path, "/services/collector/event");
        assert_eq!(received.headers["authorization"], "Splunk t0ken");
        for event in received.body.lines() {
            let event: Value = serde_json::from_str(event).unwrap();
            let id = event["fields"]["record_id"].as_str().unwrap().to_owned();
            let line: Value = serde_json::from_str(&records[&id]).unwrap();
            assert_eq!(event["event"], line);
            assert_eq!(
                (&event["index"], &event["sourcetype"]),
                (&json!("audit"), &json!("pgveil:audit"))
            );
            let time: f64 = event["time"].as_str().unwrap().parse().unwrap();
            let expected = humantime::parse_rfc3339(line["time"].as_str().unwrap()).unwrap();
            let expected = expected
                .duration_since(std::time::SystemTime::UNIX_EPOCH)
                .unwrap();
            assert!((time - expected.as_secs_f64()).abs() < 1e-5);
            ids.insert(id);
        }
    }
    assert_eq!(ids, house.ids());
}

/// An index in memory: takes a document once, refuses what it is told to.
#[derive(Default)]
struct Index {
    documents: std::collections::BTreeMap<String, Value>,
    conflicts: usize,
    /// Documents that get this status the next time they come.
    next: Vec<(String, u64)>,
}

impl Index {
    fn bulk(&mut self, body: &str) -> String {
        let lines: Vec<Value> = body
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let (pairs, rest) = lines.as_chunks::<2>();
        assert!(rest.is_empty());
        let items: Vec<Value> = pairs
            .iter()
            .map(|[action, document]| {
                let id = action["create"]["_id"].as_str().unwrap().to_owned();
                if let Some(at) = self.next.iter().position(|(next, _)| id.ends_with(next)) {
                    let (_, status) = self.next.remove(at);
                    return json!({ "create": { "status": status, "error": { "type": "some_exception" } } });
                }
                if self.documents.contains_key(&id) {
                    self.conflicts += 1;
                    return json!({ "create": { "status": 409 } });
                }
                self.documents.insert(id, document.clone());
                json!({ "create": { "status": 201 } })
            })
            .collect();
        json!({ "errors": true, "items": items }).to_string()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn elasticsearch_has_every_document_once_whatever_is_repeated() {
    let index = Arc::new(Mutex::new(Index::default()));
    // One is busy (the batch comes again, the others meet themselves), one can never be read.
    index.lock().unwrap().next = vec![("-7".to_owned(), 429), ("-9".to_owned(), 400)];
    let shared = Arc::clone(&index);
    let reply = move |body: &str| shared.lock().unwrap().bulk(body);
    let server = WebServer::start_at(0, &TROUBLE[1..], Arc::new(reply), None).await;
    let house = House::new();
    house.write(60);
    let sinks = house.start(&[elastic(server.port)]);
    caught_up(&sinks, "elastic").await;
    let received = server.received();
    let first = received.first().expect("a request");
    assert_eq!(first.path, "/es/pgveil-audit/_bulk");
    assert_eq!(first.headers["authorization"], "Basic cGd2ZWlsOmh1bnRlcjI=");
    let index = index.lock().unwrap();
    let mut ids: BTreeSet<String> = index.documents.keys().cloned().collect();
    assert!(index.conflicts > 0);
    for (id, document) in &index.documents {
        assert_eq!(document["event"]["id"], *id);
    }
    // The 400 came in a batch that was sent again for another reason, and then it was taken.
    ids.extend(rejected(&house));
    assert_eq!(ids, house.ids());
}

fn rejected(house: &House) -> Vec<String> {
    let path = house.cursor("elastic").with_extension("rejected.jsonl");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let chain = house.spool.chain();
    text.lines()
        .map(|line| format!("{chain}-{}", crate::house::seq(line)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_can_never_be_indexed_is_set_aside() {
    let index = Arc::new(Mutex::new(Index::default()));
    index.lock().unwrap().next = vec![("-9".to_owned(), 400)];
    let shared = Arc::clone(&index);
    let reply = move |body: &str| shared.lock().unwrap().bulk(body);
    let server = WebServer::start_at(0, &[], Arc::new(reply), None).await;
    let house = House::new();
    house.write(30);
    let sinks = house.start(&[elastic(server.port)]);
    caught_up(&sinks, "elastic").await;
    assert_eq!(status(&sinks, "elastic").rejected, 1);
    assert_eq!(rejected(&house), [format!("{}-9", house.spool.chain())]);
    assert_eq!(index.lock().unwrap().documents.len(), house.ids().len() - 1);
}
