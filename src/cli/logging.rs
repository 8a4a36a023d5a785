//! pgveil's own log: what it does, on standard error. No secret and no data of a statement is ever in it.
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

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

impl LogArgs {
    /// Starts logging for the process.
    ///
    /// # Errors
    /// The level is neither a level nor a filter.
    pub fn start(&self) -> Result<(), CliError> {
        let filter = self.filter()?;
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
        let started = match self.log_format {
            LogFormat::Text => builder.try_init(),
            LogFormat::Json => builder.json().flatten_event(true).try_init(),
        };
        started
            .map_err(|error| CliError::Environment(format!("logging cannot be started: {error}")))
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
    fn a_wrong_filter_says_what_is_right() {
        let error = args("pgveil=loud").filter().expect_err("refused");
        assert!(
            error.to_string().contains("--log-level: `pgveil=loud`"),
            "{error}"
        );
    }
}
