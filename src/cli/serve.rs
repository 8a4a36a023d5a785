//! `pgveil serve`: starts everything in order, runs, and ends in good order.
mod approvals;
pub mod catalogs;
mod certificates;
mod detection;
mod directory;
mod door;
mod ending;
mod exports;
pub mod gate;
mod issuers;
mod journal;
pub mod keys;
mod reloading;
mod settings;
mod signals;
mod sinks;
pub mod spool;
mod succession;
mod supervisor;
mod upgrade;
mod verifiers;

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::detection::Detection;
use self::door::Door;
use self::exports::open_desk;
use self::journal::Journal;
use self::reloading::Reload;
use self::settings::Adjustable;
use self::signals::Signals;
use self::spool::open_spool;
use self::succession::link::Use;
use self::succession::predecessor::Predecessor;
use self::succession::successor::Program;
use self::supervisor::Supervisor;
use self::verifiers::StoredVerifiers;
use super::{CliError, approvers, policies, print};
use crate::admin::Metrics;
use crate::admin::accounts::Accounts;
use crate::admin::http::{Admin, Readiness};
use crate::audit::sink::Sinks;
use crate::audit::{Event, Record};
use crate::auth::{Blame, VerifierSource};
use crate::config;
use crate::export::Desk;
use crate::export::notify::Notifier;
use crate::policy::{Asking, Caller};
use crate::session::assignment::Basis;
use crate::session::cores::Cores;
use crate::session::drain::Leaving;
use crate::session::listener::{self, Listeners, Phase, Places};
use crate::session::login::{LoginGate, RoleMatch, SessionIds};
use crate::session::proxy::{self, Proxy};
use crate::session::relay::SessionEnd;
use crate::sql::Planner;

/// Run the proxy
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil serve --config pgveil.yaml\n  \
    pgveil serve --config pgveil.yaml --log-format json --log-level debug\n\n\
    SIGTERM and SIGINT: no new sessions, running transactions may finish within limits.drain_timeout;\n\
    a second signal ends at once. SIGHUP: reads pgveil.yaml, the certificates and files it names and the policy again,\n\
    as is done when one of them changes; what is wrong changes nothing. SIGUSR1: logs more (debug, then trace), and as at\n\
    the start the third time. SIGUSR2: starts the program again, which takes over without refusing a connection; this\n\
    process ends when its sessions have.")]
pub struct ServeArgs {
    /// The configuration file
    #[arg(long, short, value_name = "FILE", default_value = "pgveil.yaml")]
    pub config: PathBuf,
    /// Takes over from the process at the other end of standard input
    #[arg(long, hide = true)]
    pub successor: bool,
}

/// Runs until a signal ends it.
///
/// # Errors
/// What keeps it from starting: the configuration, the policy, the spool, the server, an address in use.
pub async fn run(args: ServeArgs) -> Result<ExitCode, CliError> {
    let program = Program::of_this_process().map_err(CliError::environment)?;
    let mut signals = Signals::listen().map_err(CliError::environment)?;
    let mut running = tokio::select! {
        started = Running::start(&args) => started?,
        signal = signals.until_end(|| ()) => {
            return Err(CliError::Environment(format!("{signal} before pgveil was up")));
        }
    };
    running.announce()?;
    let mut supervisor = Supervisor::of_environment();
    supervisor.ready(&format!("listening on {}", list(&running.listening)));
    let over = upgrade::until_over(&mut running, &mut signals, &program, &mut supervisor).await;
    let ended = running.end(over, &program, &mut supervisor, &mut signals);
    ended.await.map(|()| ExitCode::SUCCESS)
}

/// A proxy that serves.
struct Running {
    proxy: Arc<Proxy>,
    journal: Journal,
    readiness: Arc<Readiness>,
    gate: Arc<ArcSwap<LoginGate>>,
    /// Listening sockets once more, for a successor.
    sockets: Vec<(Use, OwnedFd)>,
    /// What serves the admin listener and the console.
    serving: Vec<tokio::task::JoinHandle<()>>,
    /// The process whose place this one took, as long as it has sessions.
    predecessor: Option<Predecessor>,
    notifier: Arc<Mutex<Option<Notifier>>>,
    /// Held while settings change or another process takes over.
    changing: Arc<tokio::sync::Mutex<()>>,
    phase: watch::Sender<Phase>,
    draining: watch::Sender<Leaving>,
    listening: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    console: Option<SocketAddr>,
    /// Ends when all sessions have; gives the number of those that were cut off.
    sessions: tokio::task::JoinHandle<u32>,
    desk: Arc<Desk>,
    sinks: Arc<Sinks>,
    reload: Reload,
    /// What follows files, databases and the disk, and puts on record what it finds.
    background: JoinSet<()>,
    /// Raises alarms until the end.
    detection: Option<Detection>,
    /// Sessions that were cut off go with it, last of all.
    _cores: Arc<Cores>,
}

impl Running {
    async fn start(args: &ServeArgs) -> Result<Running, CliError> {
        let settings = Arc::new(config::load(&args.config)?);
        let policy = policies::load(&settings)?;
        for finding in policy.warnings.iter() {
            eprintln!("{finding}");
        }
        let recipient = spool::recipient(&settings, &policy)?;
        keys::check(&settings, &policy)?;
        let catalogs = Arc::new(catalogs::store(&settings)?);
        let mut inherited = match args.successor {
            true => Some(upgrade::inherit(&settings, &policy, &catalogs).await?),
            false => None,
        };
        let metrics = Arc::new(Metrics::new().map_err(CliError::environment)?);
        let journal = Journal {
            spool: Arc::new(open_spool(&settings)?),
            metrics: Arc::clone(&metrics),
        };
        let predecessor = inherited
            .as_ref()
            .map(|inherited| inherited.predecessor.clone());
        if let Some(predecessor) = &predecessor {
            // Sessions of the old process wait.
            let spool = Arc::clone(&journal.spool);
            predecessor.serve(spool).map_err(CliError::environment)?;
        }
        let sinks = sinks::start(&settings, &journal)?;
        let upstream = Arc::new(gate::upstream(&settings)?);
        let version: Arc<str> = policy.version().into();
        proxy::show_policy(&metrics, &policy);
        metrics.begin(
            Blame::ALL.map(Blame::as_str),
            SessionEnd::ALL.map(SessionEnd::label),
        );
        metrics.sessions_limit(settings.limits.max_sessions as u64);
        if let Err(error) = metrics.show_process() {
            tracing::warn!(%error, "the metrics do not show the process");
        }

        let policy = Arc::new(policy);
        let planner = Planner::new(
            settings.limits.plan_cache_bytes,
            settings.limits.planner_threads,
        )
        .map_err(CliError::environment)?;
        let stored = Arc::new(StoredVerifiers(Arc::clone(&catalogs)));
        let desk = Arc::new(open_desk(&settings, &journal, &version).await?);
        let accounts = Accounts::new(Arc::clone(desk.store())).list().await;
        let accounts = accounts.map_err(CliError::environment)?;
        for finding in approvers::findings(&policy, &settings, Some(&accounts)).iter() {
            eprintln!("{finding}");
        }
        let notifier = exports::tell_approvers(&settings, &desk)?;
        if let Some(notifier) = &notifier {
            exports::count(notifier, &metrics);
        }
        let proxy = Proxy::new(
            Arc::clone(&settings),
            Arc::clone(&policy),
            Arc::clone(&catalogs),
            planner,
            Arc::clone(&journal.spool),
            Arc::clone(&metrics),
            Arc::clone(&desk),
        );
        let proxy = Arc::new(proxy.sealing_to(recipient));
        let role = role_of(&proxy);
        let stored: Arc<dyn VerifierSource> = stored;
        let mut gate = gate::gate(&settings, upstream, role, Arc::clone(&stored)).await?;
        if let Some(inherited) = &inherited {
            gate.sessions = Arc::new(SessionIds::after(inherited.sessions));
            upgrade::ask(&gate.cancels, &inherited.predecessor);
        }
        certificates::show(&settings, &gate, &metrics);
        let gate = Arc::new(ArcSwap::from_pointee(gate));
        // After everything that needs no server, so that a wrong setting is not mistaken for a server that is away.
        let read = catalogs::check(&policy, &catalogs).await?;

        if let Some(rule) = &policy.directory {
            // Who it is about comes in without it, and meets refusals until it can be read.
            directory::look(&proxy, rule, true).await;
        }

        let mut open = |purpose, address| {
            let socket = inherited
                .as_mut()
                .and_then(|inherited| inherited.socket(purpose, address));
            match socket {
                Some(socket) => TcpListener::from_std(socket).map_err(CliError::environment),
                None => listener::bind(address).map_err(CliError::environment),
            }
        };
        let sockets = settings
            .listen
            .iter()
            .map(|address| open(Use::Sessions, *address))
            .collect::<Result<Vec<_>, _>>()?;
        let (mut kept, mut serving) = (Vec::new(), Vec::new());
        for socket in &sockets {
            kept.push((Use::Sessions, again(socket)?));
        }
        let readiness = Arc::new(Readiness::default());
        let admin = match settings.admin {
            Some(address) => {
                let socket = open(Use::Admin, address)
                    .map_err(|error| CliError::Environment(format!("admin: {error}")))?;
                kept.push((Use::Admin, again(&socket)?));
                let address = socket.local_addr().map_err(CliError::environment)?;
                Some((socket, address))
            }
            None => None,
        };
        let console = settings
            .console
            .as_ref()
            .and_then(|console| inherited.as_mut()?.socket(Use::Console, console.listen));
        let console = approvals::start(&settings, console, &journal, &desk, &proxy).await?;
        let console = console.map(|console| {
            kept.extend(console.socket.map(|socket| (Use::Console, socket)));
            serving.push(console.task);
            (console.address, console.certificate)
        });
        let listening = sockets
            .iter()
            .map(TcpListener::local_addr)
            .collect::<Result<Vec<_>, _>>()
            .map_err(CliError::environment)?;

        // Before the first session: what it does is under a policy that is on record.
        let on_record = |event, message| Record {
            policy_version: Some(Arc::clone(&version)),
            ..journal.event(event, message)
        };
        let instead = match predecessor {
            Some(_) => " in the place of another process",
            None => "",
        };
        let started = format!(
            "pgveil {} on {}{instead}",
            env!("CARGO_PKG_VERSION"),
            list(&listening)
        );
        let loaded = settings.policies.display().to_string();
        reloading::keep(&policy, &settings);
        for record in [
            on_record(Event::Start, started),
            on_record(Event::Policy, loaded),
        ] {
            journal.write(&record).map_err(CliError::environment)?;
        }

        let detection = Some(detection::start(&journal, &proxy)?);
        let places = Places::new(settings.limits.max_sessions);
        let notifier = Arc::new(Mutex::new(notifier));
        let changing = Arc::default();
        let adjustable = Adjustable {
            journal: journal.clone(),
            proxy: Arc::clone(&proxy),
            gate: Arc::clone(&gate),
            stored,
            places: places.clone(),
            sinks: Arc::clone(&sinks),
            desk: Arc::clone(&desk),
            notifier: Arc::clone(&notifier),
            console: console
                .as_ref()
                .and_then(|(_, certificate)| certificate.clone()),
            changing: Arc::clone(&changing),
            stamp: Mutex::new(settings::stamp(&settings)),
            told: Mutex::default(),
        };
        let mut background = JoinSet::new();
        let reload = reloading::start(adjustable, &mut background);
        // A column that is renamed before its first reader comes is known by then.
        for catalog in &read {
            proxy.learn(catalog);
        }
        let (phase, watching) = watch::channel(Phase::Serving);
        let (draining, drain) = watch::channel(Leaving::No);
        let door = Door {
            gate: Arc::clone(&gate),
            proxy: Arc::clone(&proxy),
            journal: journal.clone(),
            draining: drain,
        };
        let cores = Arc::new(Cores::start().map_err(CliError::environment)?);
        let listeners = Listeners::new(door, metrics, places, Arc::clone(&cores));
        let sessions = tokio::spawn(listeners.run(sockets, watching));
        background.spawn(directory::keep(Arc::clone(&proxy)));
        background.spawn(catalogs::watch(Arc::clone(&proxy), Arc::clone(&readiness)));
        background.spawn(spool::tend(journal.clone()));
        background.spawn(spool::keep(
            journal.clone(),
            Arc::clone(&proxy),
            Arc::clone(&sinks),
        ));
        background.spawn(exports::keep_settled(
            Arc::clone(&desk),
            Arc::clone(&journal.metrics),
        ));
        readiness.catalog(true);
        readiness.listening();
        // Not before: the old process, where there is one, answers on the same socket that it is ready.
        let admin = admin.map(|(socket, address)| {
            serving.push(serve_admin(socket, &journal, &readiness));
            address
        });
        if let Some(predecessor) = &predecessor {
            predecessor.serving();
        }
        Ok(Running {
            proxy,
            journal,
            readiness,
            gate,
            sockets: kept,
            serving,
            predecessor,
            notifier,
            changing,
            phase,
            draining,
            listening,
            admin,
            console: console.map(|(address, _)| address),
            sessions,
            desk,
            sinks,
            reload,
            background,
            detection,
            _cores: cores,
        })
    }

    /// One line on standard output, for people and for scripts that wait for it.
    fn announce(&self) -> Result<(), CliError> {
        let place = |name: &str, address: Option<SocketAddr>| match address {
            Some(address) => format!(" ({name} {address})"),
            None => String::new(),
        };
        let (admin, console) = (place("admin", self.admin), place("console", self.console));
        print(&format!(
            "pgveil ready on {}{admin}{console}\n",
            list(&self.listening)
        ))
    }

    fn reload(&self) {
        tracing::info!("SIGHUP: settings, the files they name and policies are read again");
        self.reload.ask();
    }
}

/// A listening socket once more.
fn again(socket: &TcpListener) -> Result<OwnedFd, CliError> {
    let again = socket.as_fd().try_clone_to_owned();
    again.map_err(CliError::environment)
}

fn serve_admin(
    socket: TcpListener,
    journal: &Journal,
    readiness: &Arc<Readiness>,
) -> tokio::task::JoinHandle<()> {
    let admin = Admin {
        metrics: Arc::clone(&journal.metrics),
        readiness: Arc::clone(readiness),
        spool: Arc::clone(&journal.spool),
    };
    tokio::spawn(admin.serve(socket))
}

/// The policy's answer at the door. It holds the proxy, so that a policy that replaces this one counts at once.
fn role_of(proxy: &Arc<Proxy>) -> impl Fn(&Caller) -> RoleMatch + Send + Sync + 'static {
    let proxy = Arc::clone(proxy);
    move |caller| {
        let settings = proxy.settings.load();
        let databases = settings.upstream.databases.as_deref();
        match_role(&proxy.basis(), databases, caller)
    }
}

fn match_role(basis: &Basis, databases: Option<&[String]>, caller: &Caller) -> RoleMatch {
    let (policy, database) = (&basis.policy, &caller.database);
    if databases.is_some_and(|served| !served.iter().any(|name| name == database)) {
        return RoleMatch::Denied {
            message: format!("pgveil: database \"{database}\" is not served here"),
            hint: "Databases are served that `upstream.databases` names in pgveil.yaml.".to_owned(),
        };
    }
    let asking = Asking {
        caller,
        app_user: None,
        now: basis.now,
    };
    // Without a user of an application no group is asked for.
    let role = policy.match_role(asking, &basis.directory).ok().flatten();
    let is_shared = policy.application(&caller.db_user).is_some();
    match role {
        // Of those who share the user each statement has a role of its own, and all of them are analysed.
        _ if is_shared && policy.could_match(caller) => RoleMatch::Role {
            name: role
                .filter(|role| role.restricted())
                .map(|role| Arc::clone(&role.name)),
            restricted: true,
        },
        Some(role) => RoleMatch::Role {
            name: Some(Arc::clone(&role.name)),
            restricted: role.restricted(),
        },
        None => RoleMatch::Denied {
            message: format!("pgveil: no role for user \"{}\"", caller.db_user),
            hint: "An entry of `who` in a role of the policy must hold for the session: its user, database, network, certificate and time."
                .to_owned(),
        },
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    addresses.join(", ")
}
