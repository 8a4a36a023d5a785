//! Plain text by SMTP, one mail for each address: an address that does not exist keeps nobody else from theirs.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use tokio::time::timeout;

use super::message::Notice;
use super::{Failure, NotifyError};
use crate::config::{SmtpSettings, SmtpTls};

/// Notices of which it is remembered who has them already.
const MAX_PARTIAL: usize = 1024;

pub struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: BTreeMap<String, Vec<Mailbox>>,
    /// What a mail's identifier ends with.
    domain: String,
    /// Of notices that not all have: who has.
    partial: Mutex<BTreeMap<String, BTreeSet<String>>>,
    patience: Duration,
}

impl Mail {
    pub fn new(settings: &SmtpSettings, patience: Duration) -> Result<Self, NotifyError> {
        let failed = |reason: String| NotifyError {
            channel: "smtp",
            reason,
        };
        let mailbox = |text: &String| {
            let parsed = text.parse::<Mailbox>();
            parsed.map_err(|error| failed(format!("`{text}`: {error}")))
        };
        let from = mailbox(&settings.from)?;
        let mut to = BTreeMap::new();
        for (group, addresses) in &settings.to {
            let addresses = addresses.iter().map(mailbox);
            to.insert(group.clone(), addresses.collect::<Result<Vec<_>, _>>()?);
        }
        let parameters = || {
            let mut parameters = TlsParameters::builder(settings.host.clone());
            if let Some(path) = &settings.ca {
                let wrong = |error: String| failed(format!("ca `{}`: {error}", path.display()));
                let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
                let certificate =
                    Certificate::from_pem(&pem).map_err(|error| wrong(error.to_string()))?;
                parameters = parameters
                    .certificate_store(CertificateStore::None)
                    .add_root_certificate(certificate);
            }
            parameters
                .build()
                .map_err(|error| failed(format!("TLS: {error}")))
        };
        let tls = match settings.tls {
            SmtpTls::StartTls => Tls::Required(parameters()?),
            SmtpTls::Tls => Tls::Wrapper(parameters()?),
            SmtpTls::None => Tls::None,
        };
        let mut transport =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(settings.host.clone())
                .port(settings.port)
                .tls(tls)
                .timeout(Some(patience));
        if let Some(login) = &settings.login {
            let password = login.password.expose().to_owned();
            transport = transport.credentials(Credentials::new(login.user.clone(), password));
        }
        Ok(Mail {
            transport: transport.build(),
            domain: from.email.domain().to_owned(),
            from,
            to,
            partial: Mutex::default(),
            patience,
        })
    }

    /// Sends it to everybody in its groups. Done when all have it, or somebody has and the server will not take the
    /// others' ever.
    pub async fn send(&self, notice: &Notice) -> Result<(), Failure> {
        let mut had = {
            let partial = self.partial.lock();
            let partial = partial.unwrap_or_else(PoisonError::into_inner);
            partial.get(&notice.delivery).cloned().unwrap_or_default()
        };
        let addresses: BTreeMap<String, &Mailbox> = notice
            .groups
            .iter()
            .filter_map(|group| self.to.get(group))
            .flatten()
            .map(|mailbox| (mailbox.email.to_string(), mailbox))
            .collect();
        if addresses.is_empty() {
            tracing::warn!(
                request = notice.delivery,
                groups = notice.groups.join(", "),
                "notify.smtp.to has no address for any of these groups"
            );
            return Ok(());
        }
        let mut refused = Vec::new();
        for (address, mailbox) in addresses {
            if had.contains(&address) {
                continue;
            }
            match self.send_to(notice, mailbox).await {
                Ok(()) => {
                    had.insert(address);
                    self.remember(notice, had.clone());
                }
                Err(Failure::Refused(reason)) => refused.push(format!("{address}: {reason}")),
                Err(unreachable) => return Err(unreachable),
            }
        }
        if had.is_empty() {
            return Err(Failure::Refused(refused.join("; ")));
        }
        if !refused.is_empty() {
            let refused = refused.join("; ");
            tracing::warn!(
                request = notice.delivery,
                refused,
                "some approvers were not told by mail"
            );
        }
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        partial.remove(&notice.delivery);
        Ok(())
    }

    fn remember(&self, notice: &Notice, had: BTreeSet<String>) {
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        if partial.len() < MAX_PARTIAL || partial.contains_key(&notice.delivery) {
            partial.insert(notice.delivery.clone(), had);
        }
    }

    async fn send_to(&self, notice: &Notice, to: &Mailbox) -> Result<(), Failure> {
        let mail = self.mail(notice, to);
        let mail = mail.map_err(|error| Failure::Refused(error.to_string()))?;
        // The transport's own limit is for each command.
        match timeout(3 * self.patience, self.transport.send(mail)).await {
            Ok(Ok(_)) => Ok(()),
            // 5yz to this mail; 530 to 539 are about the login (RFC 4954), 554 before anything else about the server.
            Ok(Err(error)) if error.is_permanent() && !is_about_us(&error) => {
                Err(Failure::Refused(error.to_string()))
            }
            Ok(Err(error)) => Err(Failure::Unreachable(told(&error))),
            Err(_) => Err(Failure::Unreachable("no answer in time".to_owned())),
        }
    }

    fn mail(&self, notice: &Notice, to: &Mailbox) -> Result<Message, lettre::error::Error> {
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        Message::builder()
            .from(self.from.clone())
            .to(to.clone())
            .subject(&notice.subject)
            .message_id(Some(format!("<{}@{}>", notice.delivery, self.domain)))
            // No vacation message comes back (RFC 3834).
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN)
            .body(notice.text.clone())
    }
}

fn is_about_us(error: &lettre::transport::smtp::Error) -> bool {
    error
        .status()
        .is_some_and(|code| (530..540).contains(&u16::from(code)))
}

fn told(error: &lettre::transport::smtp::Error) -> String {
    use std::error::Error as _;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
