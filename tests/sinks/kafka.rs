//! Kafka against librdkafka's own mock cluster, which goes away and answers errors, and against a real broker where
//! there is one.
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use pgveil::config::{KafkaSettings, SinkKind};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::house::{House, caught_up, sink, status, until};
use crate::support::{PATIENCE, skip};

pub const TOPIC: &str = "pgveil-audit";
pub const PARTITIONS: i32 = 3;

pub struct Taken {
    id: String,
    key: Option<String>,
    partition: i32,
    pub text: String,
}

/// Reads all of a topic from its beginning.
pub fn consumer(servers: &str, topic: &str) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "test")
        .create()
        .expect("a consumer");
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(topic, partition, Offset::Beginning)
            .expect("a partition");
    }
    consumer.assign(&all).expect("assigned");
    consumer
}

/// What the topic holds, until that many different records were seen.
pub fn read(servers: &str, topic: &str, records: usize) -> Vec<Taken> {
    let consumer = consumer(servers, topic);
    let deadline = Instant::now() + PATIENCE;
    let (mut taken, mut ids) = (Vec::new(), BTreeSet::new());
    while ids.len() < records {
        assert!(Instant::now() < deadline, "{} of {records}", ids.len());
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("utf-8");
        let header = message.headers().expect("headers").get(0);
        assert_eq!(header.key, "record_id");
        let id = text(header.value.expect("an identifier"));
        ids.insert(id.clone());
        taken.push(Taken {
            id,
            key: message.key().map(text),
            partition: message.partition(),
            text: text(message.payload().expect("a record")),
        });
    }
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_has_every_record_though_its_broker_goes_away() {
    let cluster = MockCluster::new(1).expect("a cluster");
    cluster.create_topic(TOPIC, PARTITIONS, 1).expect("a topic");
    let house = House::of_segments(30_000);
    house.write(100);
    let kafka = KafkaSettings {
        brokers: vec![cluster.bootstrap_servers()],
        topic: TOPIC.to_owned(),
        tls: false,
        ca: None,
        certificate: None,
        login: None,
    };
    let mut settings = sink("kafka", SinkKind::Kafka(kafka));
    settings.timeout = Duration::from_secs(2);
    cluster.broker_down(1).expect("down");
    let sinks = house.start(&[settings]);
    until("it is missed", || async {
        status(&sinks, "kafka").failures > 0
    })
    .await;
    assert_eq!(status(&sinks, "kafka").delivered, 0);
    cluster.broker_up(1).expect("up");
    until("some arrived", || async {
        status(&sinks, "kafka").delivered > 20
    })
    .await;
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        ],
    );
    house.write(100);
    caught_up(&sinks, "kafka").await;
    let records = house.records();
    let taken = read(&cluster.bootstrap_servers(), TOPIC, records.len());
    check(&taken, &records);
    assert_eq!(status(&sinks, "kafka").rejected, 0);
}

/// Every record, as it is in the spool, those of a session in one partition.
fn check(taken: &[Taken], records: &BTreeMap<String, String>) {
    let ids: BTreeSet<String> = taken.iter().map(|taken| taken.id.clone()).collect();
    assert_eq!(ids, records.keys().cloned().collect());
    let mut places: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for taken in taken {
        assert_eq!(records.get(&taken.id), Some(&taken.text));
        let line: serde_json::Value = serde_json::from_str(&taken.text).expect("JSON");
        let session = line["session"].as_u64().map(|session| session.to_string());
        assert_eq!(taken.key, session);
        if let Some(key) = &taken.key {
            places
                .entry(key.clone())
                .or_default()
                .insert(taken.partition);
        }
    }
    assert!(
        places.len() > 3 && places.values().all(|partitions| partitions.len() == 1),
        "{places:?}"
    );
}

/// One that is not librdkafka's: `PGVEIL_KAFKA=host:port`, where topics may be made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_broker_has_every_record() {
    let Ok(broker) = std::env::var("PGVEIL_KAFKA") else {
        skip(
            "a_real_broker_has_every_record",
            "PGVEIL_KAFKA names no broker",
        );
        return;
    };
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &broker)
        .create()
        .expect("a client");
    let topic = format!("pgveil-audit-{}", std::process::id());
    let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1));
    let made = admin.create_topics([&new], &AdminOptions::new()).await;
    made.expect("an answer").remove(0).expect("a topic");
    let house = House::of_segments(30_000);
    house.write(1000);
    let kafka = KafkaSettings {
        brokers: vec![broker.clone()],
        topic: topic.clone(),
        tls: false,
        ca: None,
        certificate: None,
        login: None,
    };
    let mut settings = sink("kafka", SinkKind::Kafka(kafka));
    settings.timeout = Duration::from_secs(10);
    let sinks = house.start(&[settings]);
    caught_up(&sinks, "kafka").await;
    house.write(1000);
    caught_up(&sinks, "kafka").await;
    let records = house.records();
    let taken = read(&broker, &topic, records.len());
    check(&taken, &records);
    assert_eq!(status(&sinks, "kafka").rejected, 0);
}
