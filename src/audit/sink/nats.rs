//! NATS JetStream: one message per record under `Nats-Msg-Id`, taken when the stream acknowledges it. The stream drops
//! what it was given before within its window of duplicates.
use std::future::IntoFuture;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::{self, Context};
use async_nats::{ConnectOptions, HeaderMap};

use super::batch::Message;
use super::target::{Delivered, Failure};
use super::tls;
use crate::config::{NatsLogin, NatsSettings};

/// Bytes of a message's headers, generously.
const HEADERS: usize = 512;
/// Messages under way at once.
const PART: usize = 256;

pub struct NatsSender {
    settings: NatsSettings,
    timeout: std::time::Duration,
    tls: Option<rustls::ClientConfig>,
    open: Option<Context>,
}

impl NatsSender {
    pub fn new(settings: &NatsSettings, timeout: std::time::Duration) -> Result<Self, String> {
        let is_tls = settings.url.expose().starts_with("tls:");
        let tls = match is_tls {
            true => Some(
                tls::client(settings.ca.as_deref(), settings.certificate.as_ref())?
                    .as_ref()
                    .clone(),
            ),
            false => None,
        };
        Ok(NatsSender {
            settings: settings.clone(),
            timeout,
            tls,
            open: None,
        })
    }

    pub async fn deliver(&mut self, messages: &[Message]) -> Result<Delivered, Failure> {
        let context = match self.open.take() {
            Some(context) => context,
            None => self.connect().await?,
        };
        let most = context.client().server_info().max_payload;
        let mut delivered = Delivered::default();
        for (part, messages) in messages.chunks(PART).enumerate() {
            let mut acknowledgements = Vec::with_capacity(messages.len());
            for (index, message) in messages.iter().enumerate() {
                if message.body.len() + HEADERS > most {
                    let reason = format!("larger than the server's limit of {most} bytes");
                    delivered.rejected.push((part * PART + index, reason));
                    continue;
                }
                let mut headers = HeaderMap::new();
                headers.insert(NATS_MESSAGE_ID, message.id.as_str());
                let subject = self.settings.subject.clone();
                let published = context
                    .publish_with_headers(subject, headers, message.body.clone().into())
                    .await
                    .map_err(|error| Failure::new(error.kind().to_string()))?;
                acknowledgements.push(published.into_future());
            }
            for acknowledgement in acknowledgements {
                acknowledgement
                    .await
                    .map_err(|error| Failure::new(error.kind().to_string()))?;
            }
        }
        self.open = Some(context);
        Ok(delivered)
    }

    async fn connect(&mut self) -> Result<Context, Failure> {
        let mut options = ConnectOptions::new()
            .name("pgveil")
            .connection_timeout(self.timeout)
            // Where it goes is what the settings say.
            .ignore_discovered_servers();
        options = match &self.settings.login {
            Some(NatsLogin::Password { user, password }) => {
                options.user_and_password(user.clone(), password.expose().to_owned())
            }
            Some(NatsLogin::Token(token)) => options.token(token.expose().to_owned()),
            Some(NatsLogin::Credentials(path)) => options
                .credentials_file(path)
                .await
                .map_err(|error| Failure::new(format!("credentials: {error}")))?,
            None => options,
        };
        if let Some(config) = &self.tls {
            options = options.require_tls(true).tls_client_config(config.clone());
        }
        let client = options
            .connect(self.settings.url.expose())
            .await
            .map_err(|error| Failure::new(error.kind().to_string()))?;
        let mut context = jetstream::new(client);
        context.set_timeout(self.timeout);
        Ok(context)
    }
}
