//! Policies and settings that change while sessions run: read again when a file changes or on SIGHUP, taken up whole or
//! not at all.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::journal::Journal;
use super::settings::{Adjustable, Adjusted};
use super::{catalogs, keys, spool};
use crate::audit::{Event, Record};
use crate::cli::policy::kept::Kept;
use crate::cli::{CliError, policies};
use crate::config::Settings;
use crate::policy::PolicySet;
use crate::session::proxy::Proxy;

/// Files are read once nothing has changed for so long: an editor or a deployment writes more than one.
const QUIET: Duration = Duration::from_millis(200);
/// ... or so long after the first change.
const AT_LAST: Duration = Duration::from_secs(2);
/// After this a policy that could not be held against the databases is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Asks for the policy to be read again.
#[derive(Debug, Clone)]
pub struct Reload(mpsc::Sender<()>);

impl Reload {
    pub fn ask(&self) {
        // One that waits already serves for this, too.
        let _ = self.0.try_send(());
    }
}

/// What became of a policy that was read.
enum Taken {
    InForce,
    /// It is the one in force.
    Same,
}

/// Watches the files of the policy and of the settings from now on, in a task of its own.
pub fn start(settings: Adjustable, background: &mut JoinSet<()>) -> Reload {
    let (asked, asks) = mpsc::channel(1);
    let reload = Reload(asked);
    let journal = settings.journal.clone();
    journal.metrics.policy_reload(true);
    journal.metrics.settings_reload(true);
    let mut reloading = Reloading {
        watch: Watch::new(reload.clone()),
        journal,
        proxy: Arc::clone(&settings.proxy),
        settings,
    };
    reloading.follow();
    // What changed since it was read at the start was watched by nobody.
    reload.ask();
    background.spawn(reloading.run(asks));
    reload
}

/// Tells of each change in the folders of the files. The folder even of a single file: editors and deployments put
/// another file in its place.
struct Watch {
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
}

impl Watch {
    fn new(reload: Reload) -> Self {
        let changed = move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| !event.kind.is_access()) {
                reload.ask();
            }
        };
        let watcher = notify::recommended_watcher(changed);
        let watcher = watcher.inspect_err(|error| {
            tracing::error!(%error, "changes of files are not noticed; SIGHUP has them read again");
        });
        Watch {
            watcher: watcher.ok(),
            folders: BTreeSet::new(),
        }
    }

    /// Goes on with the folders of these files. What is a folder itself counts as one.
    fn follow(&mut self, files: impl Iterator<Item = PathBuf>) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let folders: BTreeSet<PathBuf> = files.map(|file| folder(&file)).collect();
        for gone in self.folders.difference(&folders) {
            // It may have been removed.
            let _ = watcher.unwatch(gone);
        }
        for new in folders.difference(&self.folders) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::error!(folder = %new.display(), %error, "changes there are not noticed; SIGHUP has the files read again");
            }
        }
        self.folders = folders;
    }
}

fn folder(file: &Path) -> PathBuf {
    match file.is_dir() {
        true => file.to_owned(),
        false => file
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .map_or_else(|| PathBuf::from("."), Path::to_owned),
    }
}

struct Reloading {
    journal: Journal,
    proxy: Arc<Proxy>,
    settings: Adjustable,
    watch: Watch,
}

impl Reloading {
    async fn run(mut self, mut asks: mpsc::Receiver<()>) {
        // What was complained of last. It is told again only in other words: a log in a folder that is watched is a change, too.
        let (mut wrong_settings, mut wrong_policy) = (None::<String>, None::<String>);
        let mut again = false;
        loop {
            let asked = tokio::select! {
                asked = asks.recv() => asked,
                () = sleep(RETRY), if again => Some(()),
            };
            if asked.is_none() {
                return;
            }
            settle(&mut asks).await;
            let adjusted = self.settings.take().await;
            self.journal.metrics.settings_reload(adjusted.is_ok());
            again = matches!(adjusted, Err(CliError::Environment(_)));
            match &adjusted {
                Ok(Adjusted::InForce) => self.follow(),
                Ok(Adjusted::Same) if wrong_settings.is_some() => {
                    tracing::info!("the settings in force are read as they were");
                }
                Ok(Adjusted::Same) => {}
                Err(error) if is_said(&wrong_settings, error) => {}
                Err(error) => self.settings.complain(error),
            }
            wrong_settings = adjusted.err().map(|error| error.to_string());
            let taken = self.take().await;
            self.journal.metrics.policy_reload(taken.is_ok());
            again |= matches!(taken, Err(CliError::Environment(_)));
            match &taken {
                Ok(Taken::InForce) => {}
                Ok(Taken::Same) if wrong_policy.is_some() => {
                    tracing::info!("the policy in force is read as it was");
                }
                Ok(Taken::Same) => {}
                Err(error) if is_said(&wrong_policy, error) => {}
                Err(error) => self.complain(error, wrong_policy.is_none()),
            }
            wrong_policy = taken.err().map(|error| error.to_string());
        }
    }

    fn follow(&mut self) {
        let policies = self.proxy.settings.load().policies.clone();
        let files = self.settings.files().into_iter().chain([policies]);
        self.watch.follow(files);
    }

    /// Reads the policy and brings it into force if it is another one and fits.
    async fn take(&self) -> Result<Taken, CliError> {
        let settings = self.proxy.settings.load_full();
        let by = Arc::clone(&settings);
        let read = tokio::task::spawn_blocking(move || policies::load(&by)).await;
        let policy = read.map_err(CliError::environment)??;
        let before = self.proxy.policy.load().version().to_owned();
        if policy.version() == before {
            return Ok(Taken::Same);
        }
        for finding in policy.warnings.iter() {
            tracing::warn!("{finding}");
        }
        spool::recipient(&settings, &policy)?;
        keys::check(&settings, &policy)?;
        let read = catalogs::check(&policy, &self.proxy.catalogs).await?;
        keep(&policy, &settings);
        // What happens under it comes after it on record.
        self.tell(policy.version(), &before);
        self.proxy.take_policy(Arc::new(policy));
        for catalog in &read {
            self.proxy.learn(catalog);
        }
        Ok(Taken::InForce)
    }

    fn tell(&self, version: &str, before: &str) {
        tracing::info!(version, before, "another policy comes into force");
        self.journal.note(&Record {
            policy_version: Some(version.into()),
            ..self.journal.event(
                Event::Policy,
                format!(
                    "{} instead of version {before}",
                    self.proxy.settings.load().policies.display()
                ),
            )
        });
    }

    fn complain(&self, error: &CliError, was_good: bool) {
        let policy: Arc<PolicySet> = self.proxy.policy.load_full();
        let version = policy.version();
        tracing::error!(
            version,
            "the policy in force stays, the changed one cannot be used:\n{error}"
        );
        if !was_good {
            return;
        }
        self.journal.note(&Record {
            policy_version: Some(version.into()),
            reason: Some("policy_refused".into()),
            ..self.journal.event(
                Event::Policy,
                format!(
                    "{} was changed and cannot be used; version {version} stays in force",
                    self.proxy.settings.load().policies.display()
                ),
            )
        });
    }
}

/// Keeps the text of a policy that comes into force, to be looked at later. That it can be is no reason not to serve.
pub(super) fn keep(policy: &PolicySet, settings: &Settings) {
    if let Err(error) = Kept::keep(policy, &settings.audit.dir) {
        let version = policy.version();
        tracing::error!(%error, version, "the text of the policy in force could not be kept beside the record");
    }
}

fn is_said(last: &Option<String>, error: &CliError) -> bool {
    last.as_ref().is_some_and(|last| *last == error.to_string())
}

/// Waits until changes have come to an end.
async fn settle(asks: &mut mpsc::Receiver<()>) {
    let quiet = async {
        while timeout(QUIET, asks.recv())
            .await
            .is_ok_and(|asked| asked.is_some())
        {}
    };
    // Whatever is still being written: it is read again at its next change.
    let _ = timeout(AT_LAST, quiet).await;
}
