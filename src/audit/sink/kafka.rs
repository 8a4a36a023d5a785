//! Kafka by librdkafka: an idempotent producer that waits for all in-sync replicas. Records of a session have its number
//! for a key and stay in their order.
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode;

use super::batch::Message;
use super::target::{Delivered, Failure};
use crate::config::KafkaSettings;

pub struct KafkaSender {
    settings: KafkaSettings,
    timeout: Duration,
    open: Option<FutureProducer>,
}

impl KafkaSender {
    pub fn new(settings: &KafkaSettings, timeout: Duration) -> Result<Self, String> {
        Ok(KafkaSender {
            settings: settings.clone(),
            timeout,
            open: None,
        })
    }

    /// A producer that failed is not used again: what it still holds goes with it.
    pub async fn deliver(&mut self, messages: &[Message]) -> Result<Delivered, Failure> {
        let producer = match self.open.take() {
            Some(producer) => producer,
            None => self.producer().map_err(|error| told(&error))?,
        };
        let mut delivered = Delivered::default();
        let mut reports = Vec::with_capacity(messages.len());
        for (index, message) in messages.iter().enumerate() {
            let key = message.entry.session.map(|session| session.to_string());
            let headers = OwnedHeaders::new().insert(Header {
                key: "record_id",
                value: Some(&message.id),
            });
            let mut record = FutureRecord::<String, Vec<u8>>::to(&self.settings.topic)
                .payload(&message.body)
                .headers(headers);
            if let Some(key) = &key {
                record = record.key(key);
            }
            match producer.send_result(record) {
                Ok(report) => reports.push((index, report)),
                Err((error, _)) => judge(index, &error, &mut delivered)?,
            }
        }
        for (index, report) in reports {
            match report.await {
                Ok(Ok(_)) => {}
                Ok(Err((error, _))) => judge(index, &error, &mut delivered)?,
                Err(_) => return Err(Failure::new("the producer ended")),
            }
        }
        self.open = Some(producer);
        Ok(delivered)
    }

    fn producer(&self) -> Result<FutureProducer, KafkaError> {
        let KafkaSettings {
            brokers,
            tls,
            ca,
            certificate,
            login,
            ..
        } = &self.settings;
        let protocol = match (tls, login.is_some()) {
            (true, true) => "sasl_ssl",
            (true, false) => "ssl",
            (false, true) => "sasl_plaintext",
            (false, false) => "plaintext",
        };
        // The report of a message comes before its batch is given up.
        let timeout = self.timeout.mul_f64(0.8).as_millis().max(1).to_string();
        let mut config = ClientConfig::new();
        config
            .set("client.id", "pgveil")
            .set("bootstrap.servers", brokers.join(","))
            .set("security.protocol", protocol)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "5")
            .set("message.timeout.ms", timeout);
        if let Some(ca) = ca {
            config.set("ssl.ca.location", ca.display().to_string());
        }
        if let Some(certificate) = certificate {
            config
                .set(
                    "ssl.certificate.location",
                    certificate.cert.display().to_string(),
                )
                .set("ssl.key.location", certificate.key.display().to_string());
        }
        if let Some(login) = login {
            config
                .set("sasl.mechanism", login.mechanism)
                .set("sasl.username", &login.user)
                .set("sasl.password", login.password.expose());
        }
        config.create()
    }
}

/// A record that no broker will ever take is set aside; for all else the batch comes again.
fn judge(index: usize, error: &KafkaError, delivered: &mut Delivered) -> Result<(), Failure> {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
            let reason = "larger than the topic allows".to_owned();
            delivered.rejected.push((index, reason));
            Ok(())
        }
        _ => Err(told(error)),
    }
}

/// By its code: the text may name what was configured.
fn told(error: &KafkaError) -> Failure {
    match error.rdkafka_error_code() {
        Some(code) => Failure::new(format!("{code:?}")),
        None => Failure::new("the producer cannot be made of these settings"),
    }
}
