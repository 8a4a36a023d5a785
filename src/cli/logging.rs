//! pgveil's own log: what it does, on standard error. No secret and no data of a statement is ever in it, at no level.
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use super::CliError;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// How log lines are written to standard error
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// error, warn, info, debug, trace, or a filter such as `info,pgveil::session=debug` [default: $RUST_LOG, else info]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// What the process logs, changeable while it runs.
struct Levels {
    handle: reload::Handle<EnvFilter, Registry>,
    /// The filter of the command line.
    started: String,
    step: AtomicUsize,
}

static LEVELS: OnceLock<Levels> = OnceLock::new();

/// More of pgveil's own lines, others as at the start: `None` is the start's filter.
const STEPS: [Option<&str>; 3] = [None, Some("pgveil=debug"), Some("pgveil=trace")];

/// Goes to the next of: the level of the start, debug, trace, and back to the start's. What is told at any of them holds no
/// secret. Gives the filter that is now in force; `None`: logging was not started.
pub fn next_level() -> Option<String> {
    let levels = LEVELS.get()?;
    let step = levels.step.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    let more = STEPS.get(step % STEPS.len()).copied().flatten();
    let filter = match more {
        Some(more) => format!("{},{more}", levels.started),
        None => levels.started.clone(),
    };
    levels
        .handle
        .reload(EnvFilter::try_new(&filter).ok()?)
        .ok()?;
    Some(filter)
}

/// Libraries that write tokens of statements, literals among them, or whole texts into their lines. None of theirs is
/// written, whatever the filter says.
fn tells_texts(target: &str) -> bool {
    let library = target.split("::").next().unwrap_or(target);
    ["sqlparser", "tokio_postgres"].contains(&library)
}

impl LogArgs {
    /// Starts logging for the process.
    ///
    /// # Errors
    /// The level is neither a level nor a filter.
    pub fn start(&self) -> Result<(), CliError> {
        let filter = self.filter()?;
        let started = filter.to_string();
        let (filter, handle) = reload::Layer::new(filter);
        let lines = fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
        let registry = tracing_subscriber::registry()
            .with(filter)
            .with(filter_fn(|line| !tells_texts(line.target())));
        let begun = match self.log_format {
            LogFormat::Text => registry.with(lines).try_init(),
            LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
        };
        begun.map_err(|error| {
            CliError::Environment(format!("logging cannot be started: {error}"))
        })?;
        // Started once: whoever comes second has failed above.
        let _ = LEVELS.set(Levels {
            handle,
            started,
            step: AtomicUsize::new(0),
        });
        Ok(())
    }

    fn filter(&self) -> Result<EnvFilter, CliError> {
        let (source, text) = match (&self.log_level, std::env::var("RUST_LOG")) {
            (Some(level), _) => ("--log-level", level.clone()),
            (None, Ok(text)) if !text.trim().is_empty() => ("RUST_LOG", text),
            _ => return Ok(EnvFilter::new("info")),
        };
        EnvFilter::try_new(&text).map_err(|error| {
            CliError::Configuration(format!(
                "{source}: `{text}` is no log filter ({error}); use error, warn, info, debug, trace, or a filter such as `info,pgveil::session=debug`"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(level: &str) -> LogArgs {
        LogArgs {
            log_format: LogFormat::Text,
            log_level: Some(level.to_owned()),
        }
    }

    #[test]
    fn levels_and_filters_are_taken() {
        for level in ["info", "debug", "warn,pgveil::session=trace"] {
            assert!(args(level).filter().is_ok(), "{level}");
        }
    }

    #[test]
    fn libraries_that_tell_texts_are_silent() {
        assert!(tells_texts("sqlparser::parser") && tells_texts("tokio_postgres"));
        assert!(!tells_texts("pgveil::session") && !tells_texts("mio::poll"));
    }

    #[test]
    fn a_wrong_filter_says_what_is_right() {
        let error = args("pgveil=loud").filter().expect_err("refused");
        assert!(
            error.to_string().contains("--log-level: `pgveil=loud`"),
            "{error}"
        );
    }
}
