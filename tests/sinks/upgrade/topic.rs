//! Kafka: librdkafka's own cluster.
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::Consumer;
use rdkafka::mocking::MockCluster;

use super::{place, upgraded};
use crate::house::until;
use crate::kafka;

/// What the cluster holds is in memory and bounded, so it is read while it comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_has_every_record_though_other_processes_took_over() {
    let cluster = MockCluster::new(1).expect("a cluster");
    cluster
        .create_topic(kafka::TOPIC, kafka::PARTITIONS, 1)
        .expect("a topic");
    let consumer = kafka::consumer(&cluster.bootstrap_servers(), kafka::TOPIC);
    let there: Arc<Mutex<BTreeSet<u64>>> = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    let reader = thread::spawn({
        let (there, stop) = (Arc::clone(&there), Arc::clone(&stop));
        move || {
            while !stop.load(Ordering::Relaxed) {
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else {
                    continue;
                };
                let text = message.payload().map(String::from_utf8_lossy);
                let text = text.expect("a record");
                let place = place(&text).expect("a place");
                there.lock().expect("unpoisoned").insert(place);
            }
            drop(consumer.unassign());
        }
    });
    let (recorded, _running) = upgraded(&format!(
        "{{ type: kafka, brokers: [\"{}\"], topic: {}, tls: false }}",
        cluster.bootstrap_servers(),
        kafka::TOPIC
    ))
    .await;
    until("the topic has every record", || async {
        recorded.is_subset(&there.lock().expect("unpoisoned"))
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    reader.join().expect("read");
}
