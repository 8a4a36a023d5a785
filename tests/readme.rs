//! What README.md and the example configuration say holds: examples load, commands exist. The guides: `tests/guides`.
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use pgveil::cli::Cli;
use pgveil::{config, policy};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("README.md")
}

/// The YAML blocks of the README, in their order.
fn yaml_blocks() -> Vec<String> {
    let readme = readme();
    let blocks = readme.split("```yaml\n").skip(1);
    blocks
        .filter_map(|rest| rest.split("```").next())
        .map(str::to_owned)
        .collect()
}

fn block_with(line: &str) -> String {
    yaml_blocks()
        .into_iter()
        .find(|block| block.lines().any(|l| l == line))
        .unwrap_or_else(|| panic!("no YAML block has the line `{line}`"))
}

/// A folder of the test's own, empty.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("policies")).expect("a folder");
    folder
}

fn load_settings(path: &Path) -> config::Settings {
    let environment = |name: &str| (name == "PGVEIL_CATALOG_PASSWORD").then(|| "secret".to_owned());
    config::load_with(path, &environment).unwrap_or_else(|found| panic!("{found}"))
}

#[test]
fn the_configuration_of_the_readme_and_its_policy_load() {
    let folder = folder("readme");
    let (config, policies) = (folder.join("pgveil.yaml"), folder.join("policies"));
    fs::write(&config, block_with("listen: 127.0.0.1:6432")).expect("written");
    fs::write(policies.join("crm.yaml"), block_with("version: 1")).expect("written");
    let settings = load_settings(&config);
    policy::load(&settings.policies).unwrap_or_else(|found| panic!("{found}"));
}

#[test]
fn the_example_configuration_and_the_policy_it_names_load() {
    let settings = load_settings(&root().join("deploy/pgveil.yaml"));
    policy::load(&settings.policies).unwrap_or_else(|found| panic!("{found}"));
}

/// `pgveil.yaml` with other sinks than its own, and the files that they name.
fn load_sinks(name: &str, audit: &str) -> usize {
    let folder = folder(name);
    for file in ["soc-ca.crt", "nats.creds", "elastic-password"] {
        fs::write(folder.join(file), "x").expect("written");
    }
    let base =
        "upstream: { host: localhost, catalog_user: { name: pgveil } }\npolicies: policies\n";
    let config = folder.join("pgveil.yaml");
    fs::write(
        &config,
        format!("{base}{}", audit.replace("/etc/pgveil/", "")),
    )
    .expect("written");
    let environment = |_: &str| Some("a-secret-of-many-letters".to_owned());
    let settings = config::load_with(&config, &environment);
    let settings = settings.unwrap_or_else(|found| panic!("{found}"));
    settings.audit.sinks.len()
}

/// They stand there as comments; Kafka is not in every build.
#[test]
fn the_sinks_of_the_example_configuration_load() {
    let text = fs::read_to_string(root().join("deploy/pgveil.yaml")).expect("an example");
    let lines = text.lines().skip_while(|line| *line != "  # sinks:");
    let lines = lines.take_while(|line| line.starts_with("  #"));
    let lines: Vec<String> = lines
        .map(|line| line.replacen("  # ", "  ", 1))
        .take_while(|line| cfg!(feature = "kafka") || line != "    kafka:")
        .collect();
    let sinks = load_sinks("example-sinks", &format!("audit:\n{}\n", lines.join("\n")));
    assert_eq!(sinks, if cfg!(feature = "kafka") { 11 } else { 10 });
}

#[test]
fn the_limits_of_the_example_configuration_are_the_defaults() {
    let settings = load_settings(&root().join("deploy/pgveil.yaml"));
    assert_eq!(settings.limits, config::Limits::default());
}

#[test]
fn the_commands_of_the_readme_are_understood() {
    let readme = readme();
    let commands: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `pgveil ")?.split('`').next())
        .collect();
    assert!(commands.len() >= 5, "{commands:?}");
    for command in commands {
        // Quotes are the shell's; the statement in them is one word.
        let (words, statement) = command.split_once('\'').unwrap_or((command, ""));
        let statement = statement.trim_end_matches('\'');
        let arguments = ["pgveil"].into_iter().chain(words.split_whitespace());
        let arguments = arguments.chain(Some(statement).filter(|s| !s.is_empty()));
        if let Err(error) = Cli::try_parse_from(arguments) {
            panic!("pgveil {command}: {error}");
        }
    }
}
