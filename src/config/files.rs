//! Files that settings name and that may change without them: certificates, keys, users.
use std::path::{Path, PathBuf};

use super::settings::{Settings, TlsSettings};
use super::sinks::{NatsLogin, SinkKind, SinkSettings};

impl Settings {
    /// What is read again when settings are. Not the policies, which are read by their own rules.
    pub fn files(&self) -> Vec<&Path> {
        let mut files = Vec::new();
        let console = self.console.as_ref();
        for tls in [&self.tls, console.map_or(&None, |console| &console.tls)] {
            pair(&mut files, tls.as_ref());
        }
        let clients = self.client_certificates.as_ref();
        let notify = self.notify.as_ref();
        let webhook = notify.and_then(|notify| notify.webhook.as_ref());
        let smtp = notify.and_then(|notify| notify.smtp.as_ref());
        let single = [
            clients.map(|clients| &clients.ca),
            self.upstream.ca.as_ref(),
            self.auth.users.as_ref(),
            webhook.and_then(|webhook| webhook.ca.as_ref()),
            smtp.and_then(|smtp| smtp.ca.as_ref()),
        ];
        files.extend(single.into_iter().flatten().map(PathBuf::as_path));
        let issuers = self.auth.tokens.values();
        files.extend(issuers.filter_map(|issuer| issuer.ca.as_deref()));
        for sink in &self.audit.sinks {
            files.extend(sink.files());
        }
        files
    }
}

impl SinkSettings {
    /// What a sink reads when it begins.
    pub fn files(&self) -> Vec<&Path> {
        let (ca, certificate, login) = match &self.kind {
            SinkKind::File(_) | SinkKind::Stdout => return Vec::new(),
            SinkKind::Syslog(syslog) => (&syslog.ca, &syslog.certificate, None),
            SinkKind::SplunkHec(hec) => (&hec.web.ca, &hec.web.certificate, None),
            SinkKind::Webhook(web) => (&web.ca, &web.certificate, None),
            SinkKind::Elasticsearch(elastic) => (&elastic.ca, &elastic.certificate, None),
            SinkKind::Otlp(otlp) => (&otlp.ca, &otlp.certificate, None),
            SinkKind::Kafka(kafka) => (&kafka.ca, &kafka.certificate, None),
            SinkKind::Nats(nats) => (&nats.ca, &nats.certificate, nats.login.as_ref()),
        };
        let mut files: Vec<&Path> = ca.iter().map(PathBuf::as_path).collect();
        pair(&mut files, certificate.as_ref());
        if let Some(NatsLogin::Credentials(path)) = login {
            files.push(path);
        }
        files
    }
}

fn pair<'a>(files: &mut Vec<&'a Path>, tls: Option<&'a TlsSettings>) {
    if let Some(TlsSettings { cert, key }) = tls {
        files.extend([cert.as_path(), key.as_path()]);
    }
}
