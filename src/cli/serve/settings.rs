//! Settings that change while sessions run: read again, held against what there is, taken up whole or not at all.
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};

use super::journal::Journal;
use super::{catalogs, certificates, exports, gate, role_of, sinks};
use crate::admin::console::Certificate;
use crate::audit::sink::Sinks;
use crate::audit::{Event, Record};
use crate::auth::VerifierSource;
use crate::catalog::CatalogStore;
use crate::cli::CliError;
use crate::config::{self, Merged, Settings};
use crate::export::Desk;
use crate::export::notify::Notifier;
use crate::session::listener::Places;
use crate::session::login::LoginGate;
use crate::session::proxy::Proxy;

/// What goes by settings and can go by others.
pub struct Adjustable {
    pub journal: Journal,
    pub proxy: Arc<Proxy>,
    pub gate: Arc<ArcSwap<LoginGate>>,
    pub stored: Arc<dyn VerifierSource>,
    pub places: Places,
    pub sinks: Arc<Sinks>,
    pub desk: Arc<Desk>,
    pub notifier: Arc<Mutex<Option<Notifier>>>,
    pub console: Option<Certificate>,
    /// Of the files that the settings in force name.
    pub stamp: Mutex<Vec<u8>>,
    /// Keys that wait for a restart, as they were told last. What is told is written somewhere: where that is a folder that is
    /// watched, telling it again at each change would never end.
    pub told: Mutex<Vec<&'static str>>,
    /// Held while something of this is exchanged.
    pub changing: Arc<tokio::sync::Mutex<()>>,
}

/// What became of settings that were read.
pub enum Adjusted {
    InForce,
    /// They and all the files they name are as they were.
    Same,
}

impl Adjustable {
    /// Reads the settings and the files they name, and brings them into force if they have changed and can be used.
    ///
    /// Everything that can fail comes before the first change. What fails after it, because the disk does, is told and
    /// leaves a sink out until the next time.
    ///
    /// # Errors
    /// They are wrong, or do not fit the servers: nothing has changed.
    pub async fn take(&self) -> Result<Adjusted, CliError> {
        let _changing = self.changing.lock().await;
        if self.journal.spool.is_handed_over() {
            // Sinks and listeners are the successor's.
            return Ok(Adjusted::Same);
        }
        let old = self.proxy.settings.load_full();
        let path = old.path.clone();
        let read = tokio::task::spawn_blocking(move || config::load(&path)).await;
        let read = read.map_err(CliError::environment)??;
        let Merged { settings, waiting } = config::merge(&old, read);
        let stamp = stamp(&settings);
        if settings == *old && stamp == *self.stamp() {
            if self.are_new(&waiting) {
                self.tell(&waiting, false);
            }
            return Ok(Adjusted::Same);
        }
        let settings = Arc::new(settings);
        let upstream = Arc::new(gate::upstream(&settings)?);
        let connection = match settings.upstream == old.upstream && stamp == *self.stamp() {
            true => None,
            false => {
                let connection = catalogs::connection(&settings)?;
                let policy = self.proxy.policy.load_full();
                catalogs::check(&policy, &CatalogStore::new(connection.clone())).await?;
                Some(connection)
            }
        };
        let role = role_of(&self.proxy);
        let mut gate = gate::gate(&settings, upstream, role, Arc::clone(&self.stored)).await?;
        let before = self.gate.load();
        gate.cancels = Arc::clone(&before.cancels);
        gate.sessions = Arc::clone(&before.sessions);
        gate.tokens.inherit(&before.tokens);
        let sinks = self.sinks.prepare(&settings.audit.sinks);
        let sinks = sinks.map_err(|error| CliError::Configuration(error.to_string()))?;
        let console = match (&self.console, &settings.console) {
            (Some(certificate), Some(console)) => {
                let prepared = console.tls.as_ref().map(|tls| certificate.prepare(tls));
                prepared.transpose().map_err(CliError::environment)?
            }
            _ => None,
        };
        let notifier = exports::tell_approvers(&settings, &self.desk)?;

        // What happens under them comes after them on record.
        self.are_new(&waiting);
        self.tell(&waiting, true);
        self.proxy.settings.store(Arc::clone(&settings));
        certificates::show(&settings, &gate, &self.journal.metrics);
        self.journal
            .metrics
            .sessions_limit(settings.limits.max_sessions as u64);
        self.gate.store(Arc::new(gate));
        self.places.set(settings.limits.max_sessions);
        if let Some(connection) = connection {
            self.proxy.catalogs.reconfigure(connection).await;
        }
        if let Some(replace) = console {
            replace();
        }
        if let Some(notifier) = &notifier {
            exports::count(notifier, &self.journal.metrics);
        }
        *self.notifier.lock().unwrap_or_else(PoisonError::into_inner) = notifier;
        *self.stamp() = stamp;
        if let Err(error) = self.sinks.take(sinks, sinks::GRACE).await {
            tracing::error!(%error, "a sink cannot begin; the next reload tries again");
        }
        Ok(Adjusted::InForce)
    }

    /// Files beside whose changes settings are read again: their own, and those that they name.
    pub fn files(&self) -> Vec<PathBuf> {
        let settings = self.proxy.settings.load();
        let named = settings.files().into_iter().map(PathBuf::from);
        named.chain([settings.path.clone()]).collect()
    }

    pub fn complain(&self, error: &CliError) {
        tracing::error!("the settings in force stay, the changed ones cannot be used:\n{error}");
        self.journal.note(&Record {
            reason: Some("settings_refused".into()),
            ..self.journal.event(
                Event::Settings,
                format!(
                    "{} or a file it names was changed and cannot be used; what was in force stays",
                    self.path()
                ),
            )
        });
    }

    /// Whether there are keys that wait, and others than were told last; they are taken for told.
    fn are_new(&self, waiting: &[&'static str]) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let are_new = !waiting.is_empty() && *told != waiting;
        *told = waiting.to_vec();
        are_new
    }

    fn tell(&self, waiting: &[&str], in_force: bool) {
        let path = self.path();
        let mut message = match in_force {
            true => format!("{path} and the files it names came into force as they are now"),
            false => format!("{path} was changed where pgveil has to be started anew"),
        };
        if !waiting.is_empty() {
            message.push_str(&format!(
                "; not before a restart or an upgrade: {}",
                waiting.join(", ")
            ));
            tracing::warn!(keys = waiting.join(", "), "settings wait for a restart");
        }
        tracing::info!("{message}");
        self.journal.note(&Record {
            reason: (!waiting.is_empty()).then(|| "restart_needed".into()),
            ..self.journal.event(Event::Settings, message)
        });
    }

    fn path(&self) -> String {
        self.proxy.settings.load().path.display().to_string()
    }

    fn stamp(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.stamp.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the files that settings name apart from what they were.
pub fn stamp(settings: &Settings) -> Vec<u8> {
    let mut digest = Sha256::new();
    for path in settings.files() {
        // One that cannot be read is found out by who uses it.
        let content = std::fs::read(path).unwrap_or_default();
        digest.update((content.len() as u64).to_be_bytes());
        digest.update(content);
    }
    digest.finalize().to_vec()
}
